"""Without labels: how often a picture is found again among others by another crop of it, in other colours.

What tells a picture's crop from those of others is what the method trains. A network that has learnt finds a picture
again more often than one that has not, and than raw pixels do: that it has learnt, and not yet what.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from swav_cli.core.model import SwAV
from swav_cli.core.multicrop import MultiCrop
from swav_cli.core.photometric import recolour
from swav_cli.core.precision import autocast, memory_format
from swav_cli.core.weights import About
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.loader import Crops
from swav_cli.evaluate.inference import Inference
from swav_cli.recipe.schema import Recipe
from swav_cli.recipe.sections import CropRecipe

AT_ONCE = 64
PIXELS = 32  # of a side, to which pictures are made smaller where their pixels are compared


class Views(NamedTuple):
    """Two crops of each picture, as in training; pictures that can't be read are left out."""

    crops: Tensor  # (2, N, C, size, size), uint8
    numbers: Tensor  # (2, N, columns): what is to be done to their colours


def draw_views(pictures: Pictures, recipe: Recipe, about: About) -> Views:
    """Drawn by the crops that give codes, at the size at which the network is judged; always the same."""
    assigned = next(crop for crop in recipe.crops if crop.assign)
    two = CropRecipe(count=2, size=about.size, scale=assigned.scale)
    crops = Crops(pictures, MultiCrop([two], recipe.augment, seed=0))
    cut, numbers = [], []
    for first in range(0, len(pictures), AT_ONCE):
        batch = crops.__getitems__([(0, i) for i in range(first, min(first + AT_ONCE, len(pictures)))])
        read = ~torch.isin(batch.indices, torch.tensor([index for index, _ in batch.bad], dtype=torch.long))
        cut.append(batch.crops[0][read])
        numbers.append(batch.numbers[read])
    return Views(torch.cat(cut).transpose(0, 1), torch.cat(numbers).transpose(0, 1))


def found_by(network: SwAV | None, views: Views, about: About, how: Inference) -> float:
    """Per cent of the pictures whose second crop is nearest to their own first crop, by cosine.

    Args:
        network: whose pooled features are compared; None: raw pixels, of pictures made smaller.
    """
    mean, std = (torch.tensor(values, device=how.device) for values in (about.mean, about.std))
    sides = []
    for crops, numbers in zip(views.crops, views.numbers, strict=True):
        rows = []
        for part, drawn in zip(crops.split(AT_ONCE), numbers.split(AT_ONCE), strict=True):
            x = recolour(part.to(how.device), drawn, mean, std).contiguous(memory_format=memory_format(how.device))
            rows.append(_rows(network, x, how))
        sides.append(torch.cat(rows))
    return found_again(*sides)


def found_again(first: Tensor, second: Tensor) -> float:  # (N, F) each
    """Per cent of rows of `second` whose nearest row of `first`, by cosine, is the one of the same number.

    >>> found_again(torch.eye(4), torch.eye(4)[[0, 1, 3, 2]])
    50.0
    """
    nearest = (F.normalize(second, dim=1) @ F.normalize(first, dim=1).T).argmax(dim=1)
    return 100 * int((nearest == torch.arange(len(nearest))).sum()) / len(nearest)


@torch.no_grad()
def _rows(network: SwAV | None, x: Tensor, how: Inference) -> Tensor:
    if network is None:
        return F.adaptive_avg_pool2d(x.float(), min(PIXELS, x.shape[-1])).flatten(1).cpu()
    network.eval()
    with autocast(how.device, how.precision):
        return network.features(x.to(next(network.parameters()).dtype)).float().cpu()

"""Some pictures that a run looks at after each epoch, always the same ones: what the network makes of them."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor

from swav_cli.core.health import Seen
from swav_cli.core.model import SwAV
from swav_cli.core.multicrop import MultiCrop
from swav_cli.core.precision import autocast, memory_format
from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.loader import epoch_order
from swav_cli.recipe.part import Precision
from swav_cli.recipe.schema import Recipe, settled
from swav_cli.recipe.sections import AugmentRecipe

MOST, SHARE = 256, 0.02  # pictures, and of all of them: a pass over so many costs less than a hundredth of an epoch
LEAST = 16
COMPARED = 32  # of these pictures, with each other
AT_ONCE = 64  # go through the network


class _Held(NamedTuple):
    crops: Tensor  # (N, C, size, size), uint8
    distinct: float  # share of those compared that are no copy of another


class Sample:
    """A crop each of some pictures, in memory; drawn by the run's seed, the same however often the run is stopped."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.nearest: Tensor | None = None  # (N,): prototypes, at the last look
        self._held: _Held | None = None

    def look(self, model: SwAV, pictures: Pictures, device: torch.device) -> Seen | None:
        """What a network makes of them, which is left in eval mode; None where none of them can be read.

        Args:
            pictures: those of the run; read at the first look alone.
        """
        held = self._held = self._held or self._read(pictures)
        if not len(held.crops):
            return None
        x = self._normalised(held.crops, device)
        features, nearest = _seen_by(model, x, self.recipe.training.precision)
        kept = None if self.nearest is None else float((nearest == self.nearest).float().mean())
        self.nearest = nearest
        return Seen(features, kept, held.distinct, float(x.mean()), float(x.std()))

    def _read(self, pictures: Pictures) -> _Held:
        recipe = self.recipe
        count = min(len(pictures), MOST, max(LEAST, int(SHARE * len(pictures))))
        crop = next(crop for crop in recipe.crops if crop.assign).model_copy(update={"count": 1})
        plain = AugmentRecipe(flip=0, jitter=0, grayscale=0, blur=0)
        cut = MultiCrop([crop], plain, recipe.training.seed)
        crops = [torch.empty(0, recipe.data.channels, crop.size, crop.size, dtype=torch.uint8)]
        digests: list[bytes] = []
        for index in epoch_order(len(pictures), recipe.training.seed, 0)[:count].tolist():
            with suppress(BadPicture):
                picture = pictures.read(index)
                crops.append(cut(picture, 0, index)[0][0])
                if len(digests) < COMPARED:
                    digests.append(hashlib.sha256(picture.contiguous().numpy().tobytes()).digest())
        return _Held(torch.cat(crops), len(set(digests)) / max(1, len(digests)))

    def _normalised(self, crops: Tensor, device: torch.device) -> Tensor:
        data = self.recipe.data
        mean, std = (torch.tensor(settled(each), device=device)[:, None, None] for each in (data.mean, data.std))
        return (crops.to(device).float() / 255 - mean) / std


@torch.no_grad()
def _seen_by(model: SwAV, x: Tensor, precision: Precision) -> tuple[Tensor, Tensor]:
    """Features (N, F), and the nearest prototypes (N,), these on the CPU."""
    model.eval()
    weight, features, nearest = model.prototypes.weight, [], []
    for part in x.to(weight.dtype).split(AT_ONCE):
        with autocast(x.device, precision):
            pooled = model.features(part.contiguous(memory_format=memory_format(x.device)))
            nearest.append(model.similarity(model.project(pooled)).argmax(dim=1))
        features.append(pooled.to(weight.dtype))
    return torch.cat(features), torch.cat(nearest).cpu()

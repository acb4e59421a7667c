"""What a model makes of many pictures: features, embeddings and nearest prototypes, from one pass over them.

Processes share the work, and each keeps the rows of its own share: what is compared with all of them goes to the rows,
and not the rows to what is compared. In float16 those of ImageNet's 1.28 million pictures by 2,048 features are 5.2 GB
over all processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from swav_cli.core.layers import Function
from swav_cli.core.model import SwAV
from swav_cli.core.multicrop import MultiCrop
from swav_cli.core.photometric import recolour
from swav_cli.core.precision import autocast, memory_format
from swav_cli.core.weights import About, Model
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.loader import Crops
from swav_cli.errors import Notice, Told, UserError, counted, silent
from swav_cli.evaluate.features import Rows, stream_features
from swav_cli.evaluate.inference import Inference
from swav_cli.evaluate.unread import Unread
from swav_cli.parallel import distributed
from swav_cli.recipe.sections import AugmentRecipe, CropRecipe

HALF_FROM = 2e8  # numbers; from here on features are kept in float16, as ImageNet's 1.28 million rows of 2,048 are
LARGEST_HALF = 65504.0  # of float16; what lies beyond would be infinite
VIEWS_AT_ONCE = 64
TOGETHER = 16  # batches after which processes wait for each other, so that none waits for another's whole share


class Representation(NamedTuple):
    """A row for each picture of this process's share that could be read, in their order."""

    rows: Tensor  # (N,) which pictures they are
    pooled: Tensor  # (N, F) float32, or float16 where they are many
    embedding: Tensor  # (N, D) of unit length; (N, 0) where the model has no projection head
    nearest: Tensor  # (N,) the nearest prototype; -1 where it has none
    unread: int  # of all processes
    not_finite: int  # pictures of all processes whose features are no numbers, as of a network that diverged


def represent(
    model: Model,
    pictures: Pictures,
    how: Inference,
    *,
    pooled_only: bool = False,
    progress: Told = silent,
    unread: Unread | None = None,
) -> Representation:
    """All pictures, prepared as everywhere; of several processes each gets the rows of its share.

    Args:
        unread: gets those that can't be read.
    """
    network, about = model.network, model.about
    embeds, assigns = not pooled_only and about.embedding_dim > 0, not pooled_only and about.prototypes > 0
    widths = [network.feature_dim, about.embedding_dim if embeds else 0, 1 if assigns else 0]

    def function(x: Tensor) -> Tensor:
        return network.features(x).float() if pooled_only else _all_layers(network, x)

    return _kept_rows(function, widths, pictures, about, how, progress, unread)


def raw_pixels(pictures: Pictures, about: About, how: Inference) -> Representation:
    """Pixels of the pictures, normalised, as if they were features: what features are to be better than."""
    reading = Inference(workers=how.readers(pictures, about.size))  # pixels are not worth sending to a device
    return _kept_rows(torch.nn.Flatten(), [about.channels * about.size**2, 0, 0], pictures, about, reading)


def prototype_scores(model: Model, pictures: Pictures, how: Inference) -> tuple[Tensor, Tensor]:  # (N,) and (N, K)
    """Which pictures can be read, and their scores: of all processes in the first one, in each other its own."""
    widths = [model.about.prototypes, 0, 0]
    found = gathered(_kept_rows(lambda x: model.network.scores(x).float(), widths, pictures, model.about, how))
    return found.rows, found.pooled


def gathered(part: Representation) -> Representation:
    """The rows of all processes in the first one; in each other those that it has."""
    columns = (part.rows, part.pooled, part.embedding, part.nearest)
    rows, pooled, embedding, nearest = (distributed.rows_in_first(each) for each in columns)
    return Representation(rows, pooled, embedding, nearest, part.unread, part.not_finite)


def check_features(found: Representation, pictures: Pictures, model: str, notice: Notice = silent) -> None:
    """Say which pictures have no finite features.

    Raises:
        UserError: none has any.
    """
    if found.unread == len(pictures):
        raise UserError(f"{pictures.source}: none of its {len(pictures):,} pictures can be read")
    if found.unread + found.not_finite == len(pictures):
        raise UserError(
            f"{model}: its features of {pictures.source} are not finite; it may have diverged, or been damaged"
        )
    if found.not_finite:
        notice(
            f"{model}: features of {counted(found.not_finite, 'picture')} of {pictures.source} are not finite; left out"
        )


def _kept_rows(
    function: Function,
    widths: list[int],
    pictures: Pictures,
    about: About,
    how: Inference,
    progress: Told = silent,
    unread: Unread | None = None,
) -> Representation:
    """What a function makes of this process's share; pictures without finite numbers are left out.

    Args:
        widths: of the function's output, (B, F + D + 1): pooled features, embedding, the nearest prototype's number.
    """
    shares = np.array_split(np.arange(len(pictures)), distributed.world_size())
    own, most = shares[distributed.rank()], len(shares[0])
    half = len(pictures) * widths[0] > HALF_FROM
    rows = torch.empty(len(own), dtype=torch.long)
    kinds = (torch.float16 if half else torch.float32, torch.float32, torch.float32)
    columns = [torch.empty(len(own), width, dtype=kind) for width, kind in zip(widths, kinds, strict=True)]
    parts = stream_features(function, pictures, about, how, own.tolist()) if len(own) else iter(())
    done, seen, bad = 0, 0, 0
    for part in _in_step(parts, math.ceil(most / how.batch(about.size))):
        finite = part.values.isfinite().all(dim=1)
        at = slice(done, done + int(finite.sum()))
        rows[at] = part.indices[finite]
        for column, values in zip(columns, part.values[finite].split(widths, dim=1), strict=True):
            column[at] = values.clamp(-LARGEST_HALF, LARGEST_HALF) if column.dtype == torch.float16 else values
        done, seen, bad = at.stop, seen + len(finite), bad + len(part.bad)
        if unread is not None:
            unread.add(part.bad)
        progress(round(seen * len(pictures) / len(own)), len(pictures))
    counts = distributed.sum_over_processes(torch.tensor([bad, seen - done - bad])).tolist()
    pooled, embedding, nearest = (column[:done] for column in columns)
    prototypes = nearest[:, 0].long() if widths[2] else torch.full((done,), -1)
    return Representation(rows[:done], pooled, embedding, prototypes, *counts)


def _in_step(parts: Iterator[Rows], batches: int) -> Iterator[Rows]:
    """The parts, of which no process has more than so many; all wait for each other now and then."""
    for number in range(0, batches, TOGETHER):
        yield from islice(parts, TOGETHER)
        distributed.largest_of_all(number)


def _all_layers(network: SwAV, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, F + D + 1)
    """Pooled features, embedding and the number of the nearest prototype side by side, as far as the model has them."""
    pooled = network.features(x)
    found = [pooled.float()]
    if network.has("projection_head"):
        embedding = network.project(pooled)
        found.append(embedding.float())
        if network.has("prototypes"):
            cosines = network.similarity(embedding).float()
            found.append(cosines.argmax(dim=1, keepdim=True).float())
    return torch.cat(found, dim=1)


def two_views(
    model: Model,
    pictures: Pictures,
    scale: tuple[float, float],
    augment: AugmentRecipe,
    how: Inference,
) -> tuple[Tensor, Tensor]:  # (N, D) each
    """Embeddings of two crops of each picture (pooled features where there is no projection head).

    Crops are drawn as in training, always the same. A picture that can't be read is passed over with both of its rows.
    """
    about, device = model.about, how.device
    multicrop = MultiCrop([CropRecipe(count=2, size=about.size, scale=scale)], augment, seed=0)
    crops = Crops(pictures, multicrop)
    mean, std = (torch.tensor(values, device=device) for values in (about.mean, about.std))
    layer = model.network.embed if model.network.has("projection_head") else model.network.features
    found: list[list[Tensor]] = [[], []]
    for first in range(0, len(pictures), VIEWS_AT_ONCE):
        batch = crops.__getitems__([(0, i) for i in range(first, min(first + VIEWS_AT_ONCE, len(pictures)))])
        read = ~torch.isin(batch.indices, torch.tensor([index for index, _ in batch.bad], dtype=torch.long))
        for view in range(2):
            pixels = batch.crops[0][:, view][read].to(device)
            x = recolour(pixels, batch.numbers[read, view], mean, std).contiguous(memory_format=memory_format(device))
            with torch.no_grad(), autocast(device, how.precision):
                found[view].append(layer(x).float().cpu())
    return torch.cat(found[0]), torch.cat(found[1])

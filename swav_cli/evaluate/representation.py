"""What a model makes of many pictures: features, embeddings and nearest prototypes, from one pass over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from swav_cli.core import distributed
from swav_cli.core.model import SwAV
from swav_cli.core.multicrop import Colour, CropSize, MultiCrop
from swav_cli.core.photometric import recolour
from swav_cli.core.precision import autocast
from swav_cli.core.weights import About
from swav_cli.data.loader import Crops
from swav_cli.data.pictures import Pictures
from swav_cli.evaluate.features import stream_features, usual_batch

HALF_FROM = 2e8  # numbers; from here on features are kept in float16, as ImageNet's 1.28 million rows of 2,048 are
VIEWS_AT_ONCE = 64


class Representation(NamedTuple):
    """A row for each picture that could be read, in their order."""

    rows: Tensor  # (N,) which pictures they are
    pooled: Tensor  # (N, F) float32, or float16 where they are many
    embedding: Tensor  # (N, D) of unit length; (N, 0) where the model has no projection head
    nearest: Tensor  # (N,) the nearest prototype; -1 where it has none
    unread: int


def represent(
    model: SwAV,
    about: About,
    pictures: Pictures,
    *,
    device: torch.device,
    precision: str,
    workers: int,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] = lambda done, count: None,
) -> Representation:
    """All pictures, prepared as everywhere, in eval mode; processes share the work, and each gets all rows."""
    own = np.array_split(np.arange(len(pictures)), distributed.world_size())[distributed.rank()]
    width = model.feature_dim
    half = len(pictures) * width > HALF_FROM
    pooled, embedding, nearest = (
        torch.zeros(len(own), width, dtype=torch.float16 if half else torch.float32),
        torch.zeros(len(own), about.embedding_dim),
        torch.full((len(own),), -1, dtype=torch.long),
    )
    done = 0
    for part in _streamed(model, about, pictures, own, device, precision, workers, batch_size):
        at = slice(done, done + len(part))
        pooled[at] = part[:, :width]
        embedding[at] = part[:, width : width + about.embedding_dim]
        if about.prototypes:
            nearest[at] = torch.nan_to_num(part[:, -1], nan=-1).long()
        done += len(part)
        progress(round(done * len(pictures) / len(own)), len(pictures))
    pooled, embedding, nearest = (distributed.rows_of_all(each, len(pictures)) for each in (pooled, embedding, nearest))
    read = pooled[:, 0].isfinite()
    if bool(read.all()):
        return Representation(torch.arange(len(pictures)), pooled, embedding, nearest, 0)
    rows = read.nonzero().flatten()
    return Representation(rows, pooled[rows], embedding[rows], nearest[rows], len(pictures) - len(rows))


def _streamed(
    model: SwAV,
    about: About,
    pictures: Pictures,
    own: np.ndarray[tuple[int], np.dtype[np.int64]],
    device: torch.device,
    precision: str,
    workers: int,
    batch_size: int | None,
) -> Iterable[Tensor]:
    if not len(own):
        return []
    model.eval()
    parts = stream_features(
        lambda x: _all_layers(model, x), pictures, size=about.size, mean=about.mean, std=about.std, device=device,
        precision=precision, batch_size=min(batch_size or usual_batch(about.size, device), len(own)), workers=workers,
        indices=own.tolist(),
    )  # fmt: skip
    return (part.values for part in parts)


def _all_layers(model: SwAV, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, F + D + 1)
    """Pooled features, embedding and the number of the nearest prototype side by side, as far as the model has them."""
    pooled = model.features(x)
    found = [pooled.float()]
    if model.has("projection_head"):
        embedding = model.project(pooled)
        found.append(embedding.float())
        if model.has("prototypes"):
            cosines = model.similarity(embedding).float()
            found.append(cosines.argmax(dim=1, keepdim=True).float())
    return torch.cat(found, dim=1)


def two_views(
    model: SwAV,
    about: About,
    pictures: Pictures,
    scale: tuple[float, float],
    colour: Colour,
    *,
    device: torch.device,
    precision: str,
) -> tuple[Tensor, Tensor]:  # (N, D) each
    """Embeddings of two crops of each picture (pooled features where there is no projection head).

    Crops are drawn as in training, always the same. A picture that can't be read is passed over with both of its rows.
    """
    multicrop = MultiCrop([CropSize(2, about.size, scale)], colour, seed=0)
    crops = Crops(pictures, multicrop)
    mean, std = (torch.tensor(values, device=device) for values in (about.mean, about.std))
    layer = model.eval().embed if model.has("projection_head") else model.eval().features
    found: list[list[Tensor]] = [[], []]
    for first in range(0, len(pictures), VIEWS_AT_ONCE):
        batch = crops.__getitems__([(0, i) for i in range(first, min(first + VIEWS_AT_ONCE, len(pictures)))])
        read = ~torch.isin(batch.indices, torch.tensor([index for index, _ in batch.bad], dtype=torch.long))
        for view in range(2):
            pixels = batch.crops[0][:, view][read].to(device)
            x = recolour(pixels, batch.numbers[read, view], mean, std).contiguous(memory_format=torch.channels_last)
            with torch.no_grad(), autocast(device, precision):
                found[view].append(layer(x).float().cpu())
    return torch.cat(found[0]), torch.cat(found[1])


def raw_pixels(pictures: Pictures, about: About, workers: int) -> tuple[Tensor, Tensor]:  # (N,), (N, C size size)
    """Pixels of the pictures that can be read, normalised, and which they are: what features are to be better than."""
    parts = [
        part.values
        for part in stream_features(
            torch.nn.Flatten(), pictures, size=about.size, mean=about.mean, std=about.std,
            device=torch.device("cpu"), workers=workers,
        )
    ]  # fmt: skip
    pixels = torch.cat(parts)
    rows = pixels[:, 0].isfinite().nonzero().flatten()
    return rows, pixels[rows]

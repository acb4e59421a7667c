"""The nearest of very many pictures, for each of them.

Cosines are computed a block at a time and never kept. Up to `EXACT` pictures all are compared with all; beyond that,
where faiss is installed, each with those of the nearest lists of an inverted index, which finds nearly all neighbours.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from swav_cli.errors import Told, silent

EXACT = 200_000  # pictures, whose neighbours take two cores two minutes
QUERIES, BANK = 1024, 16_384  # rows compared at once; the cosines take 64 MiB
PART = 64  # cosines of which the largest is looked at first
PROBED = 24  # lists of the index that a picture is looked for in
TRAINED = 40  # rows for each list that the index is made by


class Neighbours(NamedTuple):
    """The nearest rows of each row, the nearest first; -1 and a cosine of -inf where there are no more."""

    ids: NDArray[np.int32]  # (N, k)
    cosines: NDArray[np.float32]  # (N, k)


def nearest(
    points: NDArray[np.float32],  # (N, D) of unit length
    k: int,
    queries: NDArray[np.float32] | None = None,  # (M, D)
    progress: Told = silent,
) -> Neighbours:
    """The k nearest of all points to each, itself left out; or to each of the queries.

    >>> nearest(np.eye(3, dtype=np.float32)[[0, 0, 1]], k=1).ids.tolist()
    [[1], [0], [0]]

    Of equally near ones the first come first, but where only some of them find room any may.

    Args:
        progress: told of points done and points in all.
    """
    asked = points if queries is None else queries
    others = len(points) - (queries is None)
    found = Neighbours(
        np.full((len(asked), k), -1, dtype=np.int32), np.full((len(asked), k), -np.inf, dtype=np.float32)
    )
    if others < 1 or not len(asked):
        return found
    if len(points) > EXACT and find_spec("faiss") is not None:
        _by_index(points, asked, found, queries is None, progress)
    else:
        _by_all(points, asked, found, queries is None, progress)
    return found


def _by_all(
    points: NDArray[np.float32], asked: NDArray[np.float32], found: Neighbours, is_own: bool, progress: Told
) -> None:
    k = min(found.ids.shape[1], len(points) - is_own)
    bank, rows = torch.from_numpy(points), torch.from_numpy(asked)
    room = torch.empty(QUERIES * BANK)  # used again: memory from the system costs as much time as the products
    for first in range(0, len(rows), QUERIES):
        part = rows[first : first + QUERIES]
        best = torch.empty(len(part), 0)
        ids = torch.empty(len(part), 0, dtype=torch.long)
        for start in range(0, len(bank), BANK):
            others = bank[start : start + BANK]
            cosines = room[: len(part) * len(others)].view(len(part), len(others))
            torch.mm(part, others.T, out=cosines)
            if is_own and start < first + len(part) and first < start + cosines.shape[1]:
                own = torch.arange(max(first, start), min(first + len(part), start + cosines.shape[1]))
                cosines[own - first, own - start] = -torch.inf
            values, at = largest(cosines, k)
            best, kept = torch.cat([best, values], dim=1).topk(min(k, best.shape[1] + values.shape[1]), dim=1)
            ids = torch.cat([ids, at + start], dim=1).gather(1, kept)
        _put(found, first, best.numpy(), ids.numpy())
        progress(first + len(part), len(rows))


def largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:  # (B, n) -> (B, k) and (B, k)
    """`topk`, three times as quick where n is large: the k largest lie in the k parts whose maxima are largest."""
    count, width = values.shape
    parts = width // PART
    if width % PART or parts <= k:
        return values.topk(min(k, width), dim=1)
    grouped = values.view(count, parts, PART)
    chosen = grouped.amax(dim=2).topk(k, dim=1).indices  # (B, k)
    inside = grouped.gather(1, chosen[:, :, None].expand(-1, -1, PART)).flatten(1)
    best, at = inside.topk(k, dim=1)
    return best, chosen.gather(1, at // PART) * PART + at % PART


def _put(found: Neighbours, first: int, cosines: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
    """Into their places, in an order that follows from the numbers alone."""
    cosines = np.where(ids < 0, -np.inf, cosines)
    order = np.lexsort((ids, -cosines), axis=1)
    into = slice(first, first + len(ids)), slice(0, ids.shape[1])
    found.ids[into] = np.take_along_axis(ids, order, axis=1)
    found.cosines[into] = np.take_along_axis(cosines, order, axis=1)


def _by_index(
    points: NDArray[np.float32], asked: NDArray[np.float32], found: Neighbours, is_own: bool, progress: Told
) -> None:
    index = _index_of(points)
    k = found.ids.shape[1]
    for first in range(0, len(asked), BANK):
        part = np.ascontiguousarray(asked[first : first + BANK])
        cosines, ids = index.search(part, k + is_own)
        if is_own:  # dropped from its own list, where it need not stand first; else the last one is
            own = ids == np.arange(first, first + len(part))[:, None]
            own[~own.any(axis=1), -1] = True
            cosines, ids = (array[~own].reshape(len(part), k) for array in (cosines, ids))
        _put(found, first, cosines, ids)
        progress(first + len(part), len(asked))


def _index_of(points: NDArray[np.float32]) -> Any:
    """Of some four roots of N lists, trained on rows that are evenly spread."""
    import faiss

    lists = 4 * round(math.sqrt(len(points)))
    quantizer = faiss.IndexFlatIP(points.shape[1])
    index = faiss.IndexIVFFlat(quantizer, points.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.cp.niter = 0, 10
    step = max(1, len(points) // (TRAINED * lists))
    index.train(np.ascontiguousarray(points[::step]))
    for first in range(0, len(points), BANK):
        index.add(np.ascontiguousarray(points[first : first + BANK]))
    index.nprobe = PROBED
    return index

"""k-nearest-neighbour classification of features, weighted as in arXiv 1805.01978, section 3.4.

The bank may be all of ImageNet in half precision, or on disk: parts of it are compared with parts of the queries, and
only the nearest rows so far are kept. Several processes divide it: a part of the queries is sent to all of them, each
looks for neighbours among its own rows of the bank, and the nearest of all have the votes. No process holds more than
its share of either, and since all take part in each step, none waits for another's whole work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from swav_cli.errors import Told, silent
from swav_cli.evaluate.features import FeatureRows
from swav_cli.parallel import distributed

NUMBERS_AT_ONCE = 2**25  # of the bank in float32, 128 MiB; the cosines of a part take as much
BANK_CHUNK = 2**14  # rows; in smaller parts, finding the largest cosines costs as much as computing them
FEW = 5  # classes among which the right one counts for top-5


class KnnAccuracy(NamedTuple):
    """What one k and one temperature came to."""

    k: int  # neighbours asked for
    neighbours: int  # neighbours that voted: k, or the whole bank where it is smaller
    temperature: float
    top1: float  # per cent of queries whose class gets the most votes
    top5: float  # per cent whose class is among the five with the most


class LabelledRows(NamedTuple):
    """Features with their classes."""

    rows: FeatureRows  # (N, F), finite
    labels: Tensor  # (N,)
    own: Tensor | None = None  # (N,) of queries: each one's own row in the bank, -1 where it has none


def knn_accuracies(
    bank: LabelledRows,
    queries: LabelledRows,
    ks: Sequence[int] = (10, 20, 100, 200),
    temperatures: Sequence[float] = (0.07, 0.1),
    *,
    device: str | torch.device = "cpu",
    chunks: tuple[int, int] = (0, 0),
    progress: Told = silent,
) -> list[KnnAccuracy]:
    """How often the nearest rows of a bank tell a query's class, for each k and each temperature.

    >>> bank, labels = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> queries = LabelledRows(bank, labels, own=torch.arange(3))
    >>> knn_accuracies(LabelledRows(bank, labels), queries, ks=[1], temperatures=[0.07])[0].top1
    66.66666666666667

    Near is by cosine, and a vote weighs exp(cosine / temperature). Of classes with equal votes the first wins. A class
    without a vote is not among the five. Of several processes each gives its own rows of the bank and its own queries,
    and all get the same numbers; every one has to ask.

    Args:
        bank: neither copied nor changed.
        queries: a query's own row in the bank is never its neighbour. Rows are counted through the bank of all
            processes, one after another.
        device: where cosines are computed, in float32.
        chunks: rows of the bank and queries that are compared at once; 0: what takes some 400 MB (2 GB on CUDA).
        progress: told of queries done and queries in all.

    Raises:
        ValueError: no queries, or a bank without a row that could be a neighbour.
    """
    where = torch.device(device)
    sides = distributed.objects_of_all(_Side.of(bank, queries))
    rows, count = sum(side.rows for side in sides), sum(side.queries for side in sides)
    room = rows - int(any(side.has_own for side in sides))
    if not count or room < 1:
        raise ValueError(f"{rows} rows in the bank and {count} queries leave nothing to compare")
    used = {k: min(k, room) for k in ks}
    most = max(used.values())
    classes = 1 + max(side.largest for side in sides)
    before = sum(side.rows for side in sides[: distributed.rank()])
    bank_chunk = chunks[0] or max(1, min(BANK_CHUNK, NUMBERS_AT_ONCE // bank.rows.shape[1]))
    query_chunk = chunks[1] or (BANK_CHUNK if where.type == "cuda" else NUMBERS_AT_ONCE // BANK_CHUNK)
    bank_labels = bank.labels.to(where)
    hits = {(k, temperature): torch.zeros(2, dtype=torch.long) for k in ks for temperature in temperatures}
    done = 0
    for asked in _parts_of_all(queries, [side.queries for side in sides], query_chunk):
        labels = asked.labels.to(where)
        excluded = asked.own.to(where) - before if asked.own is not None else None
        cosines, nearest = _nearest(_unit(asked.rows, slice(None), where), bank.rows, most, excluded, bank_chunk)
        cosines, voted = _nearest_of_all(cosines, bank_labels[nearest], most)
        for k, temperature in hits:
            votes = _votes(cosines[:, : used[k]], voted[:, : used[k]], temperature, classes)
            hits[k, temperature] += _hits(votes, labels)
        done += len(labels)
        progress(done, count)
    return [
        KnnAccuracy(k, used[k], temperature, *(100 * right / count for right in found.tolist()))
        for (k, temperature), found in hits.items()
    ]


class _Side(NamedTuple):
    """What all processes have to know of what one of them holds."""

    rows: int  # of the bank
    queries: int
    largest: int  # number of a class; -1 where it holds nothing
    has_own: bool  # some query stands in the bank

    @classmethod
    def of(cls, bank: LabelledRows, queries: LabelledRows) -> _Side:
        labels = torch.cat([bank.labels.cpu(), queries.labels.cpu()])
        largest = int(labels.max()) if len(labels) else -1
        has_own = queries.own is not None and bool((queries.own >= 0).any())
        return cls(len(bank.labels), len(queries.labels), largest, has_own)


def _parts_of_all(queries: LabelledRows, counts: list[int], chunk: int) -> Iterator[LabelledRows]:
    """Parts of one process's queries after those of another, which all processes get."""
    for owner, count in enumerate(counts):
        for first in range(0, count, chunk):
            part = slice(first, first + chunk)  # beyond the end of what the others hold, which is not looked at
            mine = [_taken(queries.rows, part), queries.labels[part]]
            mine += [queries.own[part]] if queries.own is not None else []
            yield LabelledRows(*distributed.from_process(owner, mine))


def knn_accuracy(
    bank: Tensor,  # (N, F)
    bank_labels: Tensor,  # (N,)
    queries: Tensor,  # (M, F)
    query_labels: Tensor,  # (M,)
    k: int = 20,
    temperature: float = 0.07,
    chunk: int | None = None,
) -> float:
    """Top-1 of `knn_accuracies` for one k and one temperature, `chunk` queries at once.

    >>> bank, labels = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> knn_accuracy(bank, labels, torch.tensor([[0.9, 0.2]]), torch.tensor([0]), k=1)
    100.0
    """
    rows = LabelledRows(bank, bank_labels), LabelledRows(queries, query_labels)
    return knn_accuracies(*rows, [k], [temperature], chunks=(0, chunk or 0))[0].top1


def _taken(rows: FeatureRows, part: slice) -> Tensor:
    """A part of the rows as a tensor."""
    # A copy, since torch can't share memory that may not be written, such as a file opened for reading.
    return torch.from_numpy(np.array(rows[part])) if isinstance(rows, np.ndarray) else rows[part]


def _unit(rows: FeatureRows, part: slice, device: torch.device) -> Tensor:  # (n, F)
    """A part of the rows in float32 on the device, of unit length."""
    return F.normalize(_taken(rows, part).to(device).float(), dim=1)


def _nearest(
    queries: Tensor,  # (B, F) of unit length
    bank: FeatureRows,  # (N, F)
    k: int,
    own: Tensor | None,  # (B,)
    chunk: int,
) -> tuple[Tensor, Tensor]:  # (B, k) and (B, k)
    """Cosines and numbers of the nearest rows, the nearest first. Of equally near ones any may come first."""
    best = torch.empty(len(queries), 0, device=queries.device)
    rows = torch.empty(len(queries), 0, dtype=torch.long, device=queries.device)
    for first in range(0, len(bank), chunk):
        cosines = queries @ _unit(bank, slice(first, first + chunk), queries.device).T
        if own is not None:
            here = ((own >= first) & (own < first + cosines.shape[1])).nonzero().flatten()
            cosines[here, own[here] - first] = -torch.inf
        found, at = cosines.topk(min(k, cosines.shape[1]), dim=1)
        best, kept = torch.cat([best, found], dim=1).topk(min(k, best.shape[1] + found.shape[1]), dim=1)
        rows = torch.cat([rows, at + first], dim=1).gather(1, kept)
    return best, rows


def _nearest_of_all(
    cosines: Tensor,  # (B, k or fewer)
    labels: Tensor,  # (B, k or fewer)
    k: int,
) -> tuple[Tensor, Tensor]:  # (B, k) and (B, k)
    """Cosines and classes of the nearest rows of all processes' banks."""
    if distributed.world_size() == 1:
        return cosines, labels
    lacks = (0, k - cosines.shape[1])  # a small share of the bank may not have so many
    near = torch.cat(distributed.of_all(F.pad(cosines, lacks, value=-torch.inf).cpu()), dim=1)
    voted = torch.cat(distributed.of_all(F.pad(labels, lacks).cpu()), dim=1)
    best, at = near.topk(k, dim=1)
    return best.to(cosines.device), voted.gather(1, at).to(cosines.device)


def _votes(cosines: Tensor, labels: Tensor, temperature: float, classes: int) -> Tensor:  # (B, k), (B, k) -> (B, C)
    """The weight of each class's votes; -1 where it has none, be they ever so light."""
    votes = torch.full((len(cosines), classes), -1.0, device=cosines.device).scatter_(1, labels, 0.0)
    # Less the largest, which no share of the votes sees, so that no temperature is too low for float32.
    return votes.scatter_add_(1, labels, ((cosines - cosines[:, :1]) / temperature).exp())


def _hits(votes: Tensor, labels: Tensor) -> Tensor:  # (B, C), (B,) -> (2,)
    """Queries whose class has the most votes, and those whose class is among the first five."""
    own = votes.gather(1, labels[:, None])
    before = torch.arange(votes.shape[1], device=votes.device) < labels[:, None]
    place = ((votes > own) | ((votes == own) & before)).sum(dim=1)
    place[own[:, 0] < 0] = votes.shape[1] + FEW
    return torch.stack([(place < 1).sum(), (place < FEW).sum()]).cpu()

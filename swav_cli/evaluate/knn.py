"""k-nearest-neighbour classification of features, weighted as in arXiv 1805.01978, section 3.4.

The bank may be all of ImageNet in half precision, or on disk: parts of it are compared with parts of the queries, and
only the nearest rows so far are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from swav_cli.errors import UserError

NUMBERS_AT_ONCE = 2**25  # of the bank in float32, 128 MiB; the cosines of a part take as much
BANK_CHUNK = 2**14  # rows; in smaller parts, finding the largest cosines costs as much as computing them
FEW = 5  # classes among which the right one counts for top-5

Rows = Tensor | NDArray[Any]  # (N, F) of any floating type, in memory or mapped into it


class KnnAccuracy(NamedTuple):
    k: int  # neighbours asked for
    neighbours: int  # neighbours that voted: k, or the whole bank where it is smaller
    temperature: float
    top1: float  # per cent of queries whose class gets the most votes
    top5: float  # per cent whose class is among the five with the most


def knn_accuracies(
    bank: Rows,  # (N, F)
    bank_labels: Tensor,  # (N,)
    queries: Rows,  # (M, F)
    query_labels: Tensor,  # (M,)
    ks: Sequence[int] = (10, 20, 100, 200),
    temperatures: Sequence[float] = (0.07, 0.1),
    *,
    own: Tensor | None = None,  # (M,)
    device: str | torch.device = "cpu",
    bank_chunk: int | None = None,
    query_chunk: int | None = None,
) -> list[KnnAccuracy]:
    """How often the nearest rows of a bank tell a query's class, for each k and each temperature.

    >>> bank, labels = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> knn_accuracies(bank, labels, bank, labels, ks=[1], temperatures=[0.07], own=torch.arange(3))[0].top1
    66.66666666666667

    Near is by cosine, and a vote weighs exp(cosine / temperature). Of classes with equal votes the first wins. A class
    without a vote is not among the five.

    Args:
        bank, queries: finite rows; the bank is neither copied nor changed.
        own: each query's own row in the bank, which is never its neighbour; -1 where it has none.
        device: where cosines are computed, in float32.
        bank_chunk, query_chunk: rows compared at once; where nothing is said, what takes some 400 MB (2 GB on CUDA).

    Raises:
        ValueError: no queries, or a bank without a row that could be a neighbour.
    """
    where = torch.device(device)
    room = len(bank) - int(own is not None and bool((own >= 0).any()))
    if not len(queries) or room < 1:
        raise ValueError(f"{len(bank)} rows in the bank and {len(queries)} queries leave nothing to compare")
    used = {k: min(k, room) for k in ks}
    classes = int(max(bank_labels.max(), query_labels.max())) + 1
    bank_chunk = bank_chunk or max(1, min(BANK_CHUNK, NUMBERS_AT_ONCE // bank.shape[1]))
    query_chunk = query_chunk or (BANK_CHUNK if where.type == "cuda" else NUMBERS_AT_ONCE // BANK_CHUNK)
    bank_labels = bank_labels.to(where)
    hits = {(k, temperature): torch.zeros(2, dtype=torch.long) for k in ks for temperature in temperatures}
    for first in range(0, len(queries), query_chunk):
        part = slice(first, first + query_chunk)
        excluded = own[part].to(where) if own is not None else None
        cosines, nearest = _nearest(_unit(queries, part, where), bank, max(used.values()), excluded, bank_chunk)
        voted, labels = bank_labels[nearest], query_labels[part].to(where)
        for k, temperature in hits:
            votes = _votes(cosines[:, : used[k]], voted[:, : used[k]], temperature, classes)
            hits[k, temperature] += _hits(votes, labels)
    return [
        KnnAccuracy(k, used[k], temperature, *(100 * count / len(queries) for count in found.tolist()))
        for (k, temperature), found in hits.items()
    ]


def knn_accuracy(
    bank: Tensor,  # (N, F)
    bank_labels: Tensor,  # (N,)
    queries: Tensor,  # (M, F)
    query_labels: Tensor,  # (M,)
    k: int = 20,
    temperature: float = 0.07,
    chunk: int | None = None,
) -> float:
    """Top-1 of `knn_accuracies` for one k and one temperature, `chunk` queries at once."""
    found = knn_accuracies(bank, bank_labels, queries, query_labels, [k], [temperature], query_chunk=chunk)
    return found[0].top1


def _unit(rows: Rows, part: slice, device: torch.device) -> Tensor:  # (n, F)
    """A part of the rows in float32 on the device, of unit length."""
    # A copy, since torch can't share memory that may not be written, such as a file opened for reading.
    taken = torch.from_numpy(np.array(rows[part])) if isinstance(rows, np.ndarray) else rows[part]
    return F.normalize(taken.to(device).float(), dim=1)


def _nearest(
    queries: Tensor,  # (B, F) of unit length
    bank: Rows,  # (N, F)
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


def shared_labels(
    bank_labels: NDArray[np.int64] | None,
    bank_classes: list[str] | None,
    query_labels: NDArray[np.int64] | None,
    query_classes: list[str] | None,
    bank_name: str,
    query_name: str,
) -> tuple[Tensor, Tensor]:
    """Labels of both sides in the bank's numbering, matched by the classes' names.

    Raises:
        UserError: a side has no labels, or the queries have a class that the bank does not know.
    """
    if query_labels is None or query_classes is None:
        raise UserError(f"{query_name}: has no labels; put its pictures into a folder a class, or leave data.val out")
    if bank_labels is None or bank_classes is None:
        raise UserError(
            f"{bank_name}: has no labels for k-NN to learn from; name labelled pictures as data.bank, "
            "or leave data.val out"
        )
    number = {name: position for position, name in enumerate(bank_classes)}
    unknown = [name for name in query_classes if name not in number]
    if unknown:
        raise UserError(f"{query_name}: class '{unknown[0]}' is not among the classes of {bank_name}")
    translated = np.array([number[name] for name in query_classes], dtype=np.int64)[query_labels]
    return torch.from_numpy(bank_labels), torch.from_numpy(translated)

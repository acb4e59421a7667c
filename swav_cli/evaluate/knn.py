"""k-nearest-neighbour classification of features, weighted as in arXiv 1805.01978, section 3.4."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from swav_cli.errors import UserError

COSINES_AT_ONCE = 2**26  # a quarter of a gigabyte


def knn_accuracy(
    bank: Tensor,  # (N, F)
    bank_labels: Tensor,  # (N,)
    queries: Tensor,  # (M, F)
    query_labels: Tensor,  # (M,)
    k: int = 20,
    temperature: float = 0.07,
    chunk: int = 1024,
) -> float:
    """Per cent of queries whose class gets the most votes of the k nearest rows of the bank.

    Near is by cosine, and a vote weighs exp(cosine / temperature). `k` is at most the size of the bank.
    """
    bank = F.normalize(bank.float(), dim=1)
    chunk = min(chunk, max(1, COSINES_AT_ONCE // len(bank)))
    classes = int(max(bank_labels.max(), query_labels.max())) + 1
    right = 0
    for first in range(0, len(queries), chunk):
        rows, labels = queries[first : first + chunk], query_labels[first : first + chunk]
        cosines, nearest = (F.normalize(rows.float(), dim=1) @ bank.T).topk(min(k, len(bank)), dim=1)
        votes = torch.zeros(len(rows), classes)
        # Less the largest, which no share of the votes sees, so that no temperature is too low for float32.
        votes.scatter_add_(1, bank_labels[nearest], ((cosines - cosines[:, :1]) / temperature).exp())
        right += int((votes.argmax(dim=1) == labels).sum())
    return 100 * right / len(queries)


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

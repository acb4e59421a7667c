"""What groups of pictures have to do with classes, where folders are classes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from swav_cli.evaluate.clustering.agreement import agreement

WEAKEST = 5  # pairs that are told


class WeakPair(NamedTuple):
    """Two classes whose pictures come together."""

    first: str
    second: str
    together: float  # how likely a picture of one and one of the other are in the same group


def judged(group: NDArray[np.int64], labels: NDArray[np.int64], classes: list[str]) -> dict[str, Any]:
    """How well groups are classes; all from 0 to 1.

    Accuracy is that of the best matching: each group stands for one class and each class for one group at most (the
    Hungarian method), so that it needs as many groups as classes to be high, as purity needs but enough of them.
    """
    found = agreement(torch.from_numpy(group), torch.from_numpy(labels))
    cells = counts_of(group, labels, len(classes))
    return {
        "groups": len(cells),
        "accuracy": best_matching(cells),
        **found._asdict(),
        "weakest": [pair._asdict() for pair in weakest(cells, classes)],
    }


def counts_of(group: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:  # (G, C)
    """Pictures of each group and class."""
    names, place = np.unique(group, return_inverse=True)
    cells = np.zeros((len(names), classes), dtype=np.int64)
    np.add.at(cells, (place, labels), 1)
    return cells


def best_matching(cells: NDArray[np.int64]) -> float:  # (G, C)
    """
    >>> best_matching(np.array([[3, 1], [0, 4]]))
    0.875
    """
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(cells, maximize=True)
    return float(cells[rows, columns].sum() / max(1, cells.sum()))


def weakest(cells: NDArray[np.int64], classes: list[str]) -> list[WeakPair]:  # (G, C)
    """The pairs of classes whose pictures are likeliest to be in the same group."""
    shares = cells / np.maximum(1, cells.sum(axis=0))
    together = np.triu(shares.T @ shares, 1)
    order = np.argsort(-together, axis=None, kind="stable")[:WEAKEST]
    pairs = [divmod(int(number), len(classes)) for number in order]
    return [WeakPair(classes[a], classes[b], float(together[a, b])) for a, b in pairs if together[a, b] > 0]

"""Odd pictures: those that have no others near them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swav_cli.evaluate.clustering.near import Neighbours

LOOKED_AT = 10  # neighbours
ODD = 3.5  # of the score in robust deviations, Iglewicz and Hoaglin 1993


def oddness(neighbours: Neighbours) -> NDArray[np.float32]:  # (N,) 0 to 2
    """How far the nearest ten are from each picture on average, as 1 - cosine; NaN of a picture without others.

    So many are looked at that a few copies of an odd picture don't make it an ordinary one.
    """
    cosines = neighbours.cosines[:, :LOOKED_AT]
    there = np.isfinite(cosines)
    total = np.where(there, 1 - cosines, 0).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(there.any(axis=1), total / there.sum(axis=1), np.nan).astype(np.float32)


def are_odd(scores: NDArray[np.float32]) -> NDArray[np.bool_]:  # (N,)
    """Which scores lie far above the others: 0.6745 (x - median) / MAD over 3.5, their modified z-score."""
    known = scores[np.isfinite(scores)]
    if not len(known):
        return np.zeros(len(scores), dtype=bool)
    middle = np.median(known)
    spread = np.median(np.abs(known - middle))
    if spread <= 0:
        return np.zeros(len(scores), dtype=bool)
    odd: NDArray[np.bool_] = np.nan_to_num(0.6745 * (scores - middle) / spread, nan=0.0) > ODD
    return odd

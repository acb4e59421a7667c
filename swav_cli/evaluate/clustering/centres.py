"""Clusters of a model that has no prototypes: centres among the features, to the nearest of which a picture belongs."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from swav_cli.evaluate.clustering.seen import nearest_of

MOST = 1000  # centres
PICTURES = 40  # a centre that it is found by, where there are so many
ROWS = 8192  # compared with all centres at once


def how_many(pictures: int) -> int:
    """Centres for so many pictures: four roots, as many as leave each three pictures, at most `MOST`.

    >>> how_many(100), how_many(10_000), how_many(1_000_000)
    (33, 400, 1000)
    """
    return max(1, min(MOST, pictures // 3, round(4 * math.sqrt(pictures))))


def find_centres(points: NDArray[np.float32]) -> NDArray[np.float32]:  # (N, D) -> (K, D)
    """Centres of unit length by k-means over points that are evenly spread; the same on any number of processors."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    count = how_many(len(points))
    sample = points[np.linspace(0, len(points) - 1, min(len(points), PICTURES * count), dtype=int)]
    different = len(np.unique(sample, axis=0))
    with threadpool_limits(1):  # threads add up in whatever order they come
        found = KMeans(min(count, different), n_init=1, max_iter=50, random_state=0).fit(sample).cluster_centers_
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6), dtype=np.float32)


def assigned(points: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.float32]:  # (N, 4)
    """The same of each picture as a model with prototypes says; see `nearest_of`."""
    bank = torch.from_numpy(centres).T
    parts = [nearest_of(part @ bank) for part in torch.from_numpy(points).split(ROWS)]
    return torch.cat(parts).numpy() if parts else np.zeros((0, 4), dtype=np.float32)

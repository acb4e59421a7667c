"""Spherical k-means over rows that several processes share, as DeepCluster-v2 has it (arXiv 2006.09882, appendix)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from swav_cli.core.transfer import moved
from swav_cli.parallel.distributed import sum_over_processes

ROWS_AT_ONCE = 8192  # that are compared with all centroids


@torch.no_grad()
def spherical_kmeans(
    rows: Tensor,  # (N, D) of this process, of unit length, wherever they lie
    centroids: Tensor,  # (K, D) to begin from, of unit length, the same in every process
    iterations: int,
) -> tuple[Tensor, Tensor]:  # (K, D) and (N,)
    """Centroids, and of each row the one that is nearest by its cosine, beside the rows.

    >>> rows = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0], [0.2, 1.0]]))
    >>> centroids, nearest = spherical_kmeans(rows, rows[:2], iterations=2)
    >>> nearest    # the first centroid was nearest to its own row alone, and the second to the other three
    tensor([0, 0, 1, 1])

    In each round every row goes to its nearest centroid, and each centroid to the direction of the sum of its rows;
    one that has none stays where it is. The rows are those of all processes, which are joined by one sum of (K, D) and
    one of (K,) numbers a round. The work is done where the centroids are, in their precision.
    """
    for _ in range(iterations):
        sums, counts = torch.zeros_like(centroids), torch.zeros_like(centroids[:, 0])
        for part in _parts(rows, centroids):
            near = _nearest(part, centroids)
            sums.index_add_(0, near, part)
            counts.index_add_(0, near, torch.ones_like(part[:, 0]))
        sums, counts = sum_over_processes(sums), sum_over_processes(counts)
        centroids = torch.where(counts[:, None] > 0, F.normalize(sums, dim=1), centroids)
    found = [_nearest(part, centroids).to(rows.device) for part in _parts(rows, centroids)]
    return centroids, torch.cat(found)


def _parts(rows: Tensor, centroids: Tensor) -> Iterator[Tensor]:
    return (moved(part, centroids.device).to(centroids) for part in rows.split(ROWS_AT_ONCE))


def _nearest(rows: Tensor, centroids: Tensor) -> Tensor:  # (n, D) and (K, D) -> (n,)
    return (rows @ centroids.T).argmax(dim=1)

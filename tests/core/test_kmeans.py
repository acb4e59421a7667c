from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from swav_cli.core import kmeans
from swav_cli.core.kmeans import spherical_kmeans


def slow_kmeans(rows: Tensor, centroids: Tensor, iterations: int) -> tuple[Tensor, list[int]]:
    """Row by row and centroid by centroid."""

    def nearest(row: Tensor) -> int:
        cosines = [float(row.dot(centroid)) for centroid in centroids]
        return cosines.index(max(cosines))

    for _ in range(iterations):
        groups = [nearest(row) for row in rows]
        moved = []
        for number, centroid in enumerate(centroids):
            own = [row for row, group in zip(rows, groups, strict=True) if group == number]
            mean = sum(own, torch.zeros_like(centroid)) / max(1, len(own))
            moved.append(mean / mean.norm() if own else centroid)
        centroids = torch.stack(moved)
    return centroids, [nearest(row) for row in rows]


@pytest.mark.parametrize("iterations", [0, 1, 4])
def test_agrees_with_the_slow_form(iterations: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans, "ROWS_AT_ONCE", 7)  # the last of five parts is not full
    rows = F.normalize(torch.randn(30, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), dim=1)
    rows = torch.where(rows[:, :1] < 0, -rows, rows)  # all on one side of the sphere, but for the last centroid
    begin = torch.cat([rows[[3, 8, 20]], torch.tensor([[-1.0, 0, 0, 0, 0]])])
    expected, groups = slow_kmeans(rows, begin, iterations)
    centroids, nearest = spherical_kmeans(rows, begin, iterations)
    torch.testing.assert_close(centroids, expected, rtol=1e-12, atol=1e-12)
    assert nearest.tolist() == groups
    assert 3 not in groups
    assert torch.equal(centroids[3], begin[3])  # nobody's: it stays where it was

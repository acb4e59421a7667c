"""Neighbours: against a sort of all cosines, by blocks and by an index."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from swav_cli.evaluate.clustering import near
from swav_cli.evaluate.clustering.near import largest, nearest
from tests.evaluate.clustering.made_up import unit_rows


def slow(points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    cosines = points.astype(np.float64) @ points.T.astype(np.float64)
    np.fill_diagonal(cosines, -np.inf)
    order = np.argsort(-cosines, axis=1)[:, :k]
    return order, np.take_along_axis(cosines, order, axis=1)


def test_blocks_find_what_a_sort_of_all_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "QUERIES", 64)
    monkeypatch.setattr(near, "BANK", 256)
    monkeypatch.setattr(near, "PART", 16)
    points = unit_rows(700, 12)
    ids, cosines = slow(points, 7)
    found = nearest(points, 7)
    assert (found.ids == ids).all()
    assert np.abs(found.cosines - cosines).max() < 1e-5
    assert (nearest(points, 7, points[300:400]).ids[:, 0] == np.arange(300, 400)).all()


def test_the_largest_lie_in_the_parts_with_the_largest_maxima() -> None:
    values = torch.rand(5, 1024, generator=torch.Generator().manual_seed(0))
    found, at = largest(values, 9)
    assert torch.equal(found, values.topk(9, dim=1).values)
    assert torch.equal(values.gather(1, at), found)


def test_fewer_pictures_than_neighbours() -> None:
    found = nearest(unit_rows(3, 4), 5)
    assert found.ids.tolist()[0][2:] == [-1, -1, -1]
    assert np.isneginf(found.cosines[:, 2:]).all()
    assert nearest(unit_rows(1, 4), 2).ids.tolist() == [[-1, -1]]


def test_an_index_finds_nearly_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    points = unit_rows(4000, 16)
    exact = nearest(points, 10)
    monkeypatch.setattr(near, "EXACT", 1000)
    found = nearest(points, 10)
    assert (found.ids != np.arange(4000)[:, None]).all()
    shared = [len(set(a) & set(b)) for a, b in zip(found.ids.tolist(), exact.ids.tolist(), strict=True)]
    assert np.mean(shared) > 6  # rows without any structure, the hardest there are
    assert not np.array_equal(found.ids, exact.ids)

"""Copies and odd pictures: which is kept, that chains join nothing, and that large sets are found whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swav_cli.evaluate.clustering.copies import Copies, Looks, find_copies, preference
from swav_cli.evaluate.clustering.near import Neighbours, nearest
from swav_cli.evaluate.clustering.odd import are_odd, oddness
from tests.evaluate.clustering.made_up import kinds, unit_rows


def copies(points: NDArray[np.float32], digest: list[int], size: list[int], k: int = 5, near: float = 0.9) -> Copies:
    """Of pictures that all look the same, by their contents and their sides."""
    count = len(points)
    looks = Looks(points, np.array(digest, dtype=np.uint8)[:, None].repeat(16, 1), np.zeros((count, 192), np.uint8))
    order = preference(np.array(size)[:, None].repeat(2, 1), [f"{number:03d}" for number in range(count)])
    return find_copies(looks, order, nearest(points, k), near)


def angle(degrees: float) -> list[float]:
    return [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]


def test_the_largest_is_kept_and_else_the_first() -> None:
    points = np.array([angle(0), angle(1), angle(90), angle(90)], dtype=np.float32)
    found = copies(points, [0, 1, 2, 2], [8, 9, 5, 5])
    assert found.copy_of.tolist() == [1, -1, -1, 2]
    assert found.exact.tolist() == [False, False, False, True]
    assert found.similarity[[0, 3]].tolist() == [np.float32(np.cos(np.radians(1))), 1.0]
    assert np.isnan(found.similarity[[1, 2]]).all()
    assert copies(points, [0, 1, 2, 2], [8, 9, 5, 5], near=2).copy_of.tolist() == [-1, -1, -1, 2]


def test_no_chain_joins_what_is_not_alike() -> None:
    """Each is near the next by 0.94; the third from the first by 0.77."""
    points = np.array([angle(20 * number) for number in range(4)], dtype=np.float32)
    assert copies(points, [0, 1, 2, 3], [5, 5, 5, 5]).copy_of.tolist() == [-1, 0, -1, 2]


def test_sets_larger_than_the_neighbours_looked_at() -> None:
    points = np.concatenate([kinds(1, 90, spread=0.01), kinds(1, 40, spread=0.01, seed=5)])
    found = copies(points, list(range(130)), [5] * 60 + [6] + [5] * 69)
    assert set(found.copy_of[:90].tolist()) == {60, -1}
    assert set(found.copy_of[90:].tolist()) == {90, -1}
    assert (found.copy_of < 0).sum() == 2


def test_copies_of_a_copy_go_with_what_is_kept() -> None:
    points = np.array([angle(0), angle(0), angle(2)], dtype=np.float32)
    assert copies(points, [1, 1, 2], [5, 5, 9]).copy_of.tolist() == [2, 2, -1]


def test_alike_to_the_model_is_not_enough() -> None:
    points = np.array([angle(0), angle(1)], dtype=np.float32)
    rng = np.random.default_rng(0)
    looks = Looks(points, np.eye(2, 16, dtype=np.uint8), rng.integers(0, 255, (2, 192), dtype=np.uint8))
    assert find_copies(looks, np.arange(2), nearest(points, 1)).copy_of.tolist() == [-1, -1]
    brighter = looks.shrunk[:1] // 2
    looks = looks._replace(shrunk=np.concatenate([brighter, brighter + 20]))
    assert find_copies(looks, np.arange(2), nearest(points, 1)).copy_of.tolist() == [-1, 0]


def test_a_sky_of_one_colour_is_no_likeness() -> None:
    """Two pictures that have nothing in common but that they are blue."""
    rng = np.random.default_rng(1)
    blue = np.repeat([[60, 120, 230]], 64, axis=0).T.reshape(1, 192)
    shrunk = (blue + rng.integers(-15, 15, (2, 192))).astype(np.uint8)
    assert np.corrcoef(shrunk)[0, 1] > 0.97
    looks = Looks(unit_rows(2, 4), np.eye(2, 16, dtype=np.uint8), shrunk)
    assert not looks.alike(np.array([0]), np.array([1]))[0]


def test_the_odd_one() -> None:
    points = np.concatenate([kinds(3, 30, spread=0.1), -kinds(1, 1)])
    scores = oddness(nearest(points, 12))
    slow = np.sort(points @ points.T - 2 * np.eye(91), axis=1)[:, -10:]
    assert np.abs(scores - (1 - slow).mean(axis=1)).max() < 1e-5
    assert np.flatnonzero(are_odd(scores)).tolist() == [90]
    assert np.isnan(oddness(Neighbours(np.array([[-1]]), np.array([[-np.inf]])))).all()
    assert not are_odd(np.array([np.nan, 1, 1, 1], dtype=np.float32)).any()

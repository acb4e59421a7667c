"""A place on a map for each picture."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from swav_cli.evaluate.clustering import layout
from swav_cli.evaluate.clustering.kept import Kept
from swav_cli.evaluate.clustering.layout import by_what, laid_out, lay_out
from tests.evaluate.clustering.made_up import kinds


def found(points: np.ndarray, unread: int = 0) -> Any:
    """As much of what was found as a map needs; the first ones can't be read."""
    read = np.arange(len(points)) >= unread
    return SimpleNamespace(points=points, read=read, paths=[""] * len(points))


def test_kinds_lie_apart_without_umap_and_others_go_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "find_spec", lambda name: None)
    monkeypatch.setattr(layout, "MAPPED", 60)
    points = kinds(3, 40, spread=0.05)
    places = lay_out(found(points, unread=1))
    assert np.isnan(places[0]).all()
    assert np.isfinite(places[1:]).all()
    middles = np.stack([places[1:40].mean(axis=0), places[40:80].mean(axis=0), places[80:].mean(axis=0)])
    nearest = ((places[1:, None] - middles) ** 2).sum(axis=2).argmin(axis=1)
    assert nearest.tolist() == [0] * 39 + [1] * 40 + [2] * 40
    assert np.array_equal(lay_out(found(points, unread=1)), places, equal_nan=True)


def test_umap_gets_the_neighbours_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """umap-learn itself takes longer to import than all tests here."""
    given: dict[str, Any] = {}

    class UMAP:
        def __init__(self, **options: Any) -> None:
            given.update(options)

        def fit_transform(self, points: np.ndarray) -> np.ndarray:
            return points[:, :2]

    monkeypatch.setattr(layout, "find_spec", lambda name: name)
    monkeypatch.setattr(layout, "LEAST_BY_UMAP", 20)
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP))
    points = kinds(2, 20)
    assert np.array_equal(lay_out(found(points)), points[:, :2])
    ids, apart, _ = given["precomputed_knn"]
    assert ids.shape == apart.shape == (40, given["n_neighbors"])
    assert ids[:, 0].tolist() == list(range(40))
    assert np.abs(apart - (1 - np.einsum("nd,nkd->nk", points, points[ids]))).max() < 1e-5


def test_places_are_kept_and_made_anew_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "find_spec", lambda name: None)
    asked = []
    monkeypatch.setattr(layout, "lay_out", lambda found, dots: asked.append(len(found.paths)) or found.points[:, :2])
    kept = Kept(tmp_path, {})
    for points in (kinds(1, 20), kinds(1, 20), kinds(1, 30), kinds(1, 30)):
        assert np.array_equal(laid_out(found(points), kept), points[:, :2])
    assert asked == [20, 30]
    laid_out(found(kinds(1, 30)), kept, dots=30)
    assert asked == [20, 30], "more dots than there are"
    laid_out(found(kinds(1, 30)), kept, dots=29)
    kept.clear()
    laid_out(found(kinds(1, 30)), kept, dots=29)
    assert asked == [20, 30, 30, 30]


def test_how_it_is_made_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "find_spec", lambda name: name)
    many = "100,000 pictures, evenly spread, are laid out by UMAP, the others between the nearest of those."
    said = ["two main directions of", "by t-SNE.", "by UMAP.", many]
    for count, words in zip((9, 100, 1_000, 100_001), said, strict=True):
        assert words in by_what(found(np.zeros((count, 2), np.float32)))
    assert by_what(found(np.zeros((100_001, 2), np.float32)), dots=100_000) == "Pictures are laid out by UMAP."


def test_of_very_many_an_even_share_has_a_place() -> None:
    places = lay_out(found(kinds(1, 40), unread=10), dots=4)
    assert np.flatnonzero(np.isfinite(places).all(axis=1)).tolist() == [10, 19, 29, 39]


@pytest.mark.parametrize("count", [1, 2, 9])
def test_few_pictures(count: int) -> None:
    assert np.isfinite(lay_out(found(kinds(1, count)))).all()

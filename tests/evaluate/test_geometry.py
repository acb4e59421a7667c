"""Numbers without labels, against a slow, obvious form in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from swav_cli.core.health import effective_rank
from swav_cli.evaluate import geometry
from swav_cli.evaluate.geometry import alignment, rankme, uniformity


def rows(count: int = 50, width: int = 8, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator) * torch.linspace(0.1, 2, width) + 0.5


def slow_rankme(rows: Tensor) -> float:
    values = np.linalg.svd(rows.double().numpy(), compute_uv=False)
    shares = [value / values.sum() + 1e-7 for value in values]
    return math.exp(-sum(share * math.log(share) for share in shares))


def slow_uniformity(rows: Tensor) -> float:
    unit = [row / row.norm() for row in rows.double()]
    apart = [float((unit[i] - unit[j]).square().sum()) for i in range(len(unit)) for j in range(i)]
    return math.log(sum(math.exp(-2 * distance) for distance in apart) / len(apart))


@pytest.mark.parametrize(("count", "width"), [(50, 8), (8, 50), (1, 4), (4, 1), (20, 20)])
def test_rankme_against_singular_values(count: int, width: int) -> None:
    assert rankme(rows(count, width)) == pytest.approx(slow_rankme(rows(count, width)), rel=1e-6)


def test_rankme_is_the_effective_rank_of_health_but_for_its_epsilon() -> None:
    for seed in range(3):
        assert rankme(rows(seed=seed)) == pytest.approx(effective_rank(rows(seed=seed)), rel=1e-4)


def test_rankme_counts_directions() -> None:
    assert rankme(torch.eye(8)) == pytest.approx(8, rel=1e-4)
    assert rankme(torch.ones(100, 300)) == pytest.approx(1, abs=1e-3)
    few = torch.randn(300, 3, generator=torch.Generator().manual_seed(0)) @ torch.eye(3, 256)
    assert rankme(few) == pytest.approx(effective_rank(few[:, :3]), rel=1e-3)
    assert math.isfinite(rankme(torch.zeros(5, 4)))


def test_rankme_sums_over_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = rankme(rows())
    monkeypatch.setattr(geometry, "ROWS_AT_ONCE", 7)
    assert rankme(rows()) == pytest.approx(expected, rel=1e-12)
    assert rankme(rows().half()) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("at_once", [1, 7, 49, 50, 4096])
def test_uniformity_against_pairs_one_by_one(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(geometry, "ROWS_AT_ONCE", at_once)
    assert uniformity(rows()) == pytest.approx(slow_uniformity(rows()), abs=1e-5)
    assert uniformity(rows()[:2]) == pytest.approx(slow_uniformity(rows()[:2]), abs=1e-5)


def test_uniformity_of_what_is_known() -> None:
    assert uniformity(torch.ones(5, 3)) == pytest.approx(0, abs=1e-6)
    assert uniformity(torch.tensor([[1.0, 0.0], [-3.0, 0.0]])) == pytest.approx(-8, abs=1e-5)
    wide = torch.randn(500, 4096, generator=torch.Generator().manual_seed(0))
    assert uniformity(wide) == pytest.approx(-4, abs=0.02)
    assert math.isnan(uniformity(torch.ones(1, 3)))


def test_uniformity_of_many_rows_is_that_of_a_sample_that_the_seed_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    many, everything = rows(3000), uniformity(rows(3000))
    monkeypatch.setattr(geometry, "DRAWN", 1000)
    drawn = [uniformity(many, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn == pytest.approx([everything] * 3, abs=0.1)
    assert everything not in drawn


def test_alignment_against_rows_one_by_one() -> None:
    first, second = rows(seed=0), rows(seed=1)
    pairs = zip(first.double(), second.double(), strict=True)
    expected = np.mean([float((a / a.norm() - b / b.norm()).square().sum()) for a, b in pairs])
    assert alignment(first, second) == pytest.approx(expected, rel=1e-6)
    assert alignment(first, first * 3) == pytest.approx(0, abs=1e-10)
    assert alignment(first, -first) == pytest.approx(4)

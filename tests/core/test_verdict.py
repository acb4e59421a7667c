"""What an epoch's numbers are taken for; runs that come to such numbers are in tests/tasks/test_verdicts.py."""

from __future__ import annotations

import pytest

from swav_cli.core.health import Health
from swav_cli.core.verdict import verdict
from tests.conftest import tiny_recipe

HEALTHY = Health(
    used_prototypes=50, perplexity=40.0, spread=0.2, rank=20.0, deviation=0.9, twins=0, code_entropy=0.5,
    prediction_entropy=0.5, agreement=0.5, distinct=1.0,
)  # fmt: skip
FLAT = {"spread": 0.005, "code_entropy": 0.99}


@pytest.mark.parametrize(
    ("share", "changed", "expected"),
    [
        (0.6, {}, "healthy"),
        (0.999, FLAT, "flat"),
        (0.9, FLAT, "healthy"),
        (0.999, {**FLAT, "spread": 0.2}, "healthy"),  # scores still differ: slow, not dead
        (0.999, {**FLAT, "code_entropy": 0.7}, "healthy"),
        (1.3, {}, "thrown about"),
        (1.3, {"spread": 0.03}, "healthy"),  # nothing is predicted for sure yet
        (0.2, {"rank": 1.3}, "narrow"),  # a low loss is no proof of health
    ],
)
def test_kinds(share: float, changed: dict[str, float], expected: str) -> None:
    found = verdict(tiny_recipe(), HEALTHY._replace(**changed), share, warm=True)  # type: ignore[arg-type]
    assert found.verdict == expected
    assert bool(found.advice) == (expected != "healthy")
    early = verdict(tiny_recipe(), HEALTHY._replace(**changed), share, warm=False)  # type: ignore[arg-type]
    assert early == ("warming up", "")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"queue_jump": 0.2, "queue_sharpening": 0.9}, "the loss rose by 0.200 of ln K"),
        ({"queue_jump": -0.2, "queue_sharpening": 0.25}, "codes became 4.0 times as sharp"),
        ({"queue_jump": -0.2, "queue_sharpening": 0.8}, ""),
        ({"pixel_mean": 120.0, "pixel_deviation": 60.0}, "a mean of 120 and a deviation of 60"),
        ({"pixel_mean": 0.0, "pixel_deviation": 0.02}, "a deviation of 0.02"),
        ({"pixel_mean": -1.8, "pixel_deviation": 0.3}, ""),  # dark pictures by ImageNet's numbers
        ({"pixel_mean": 40.0, "pixel_deviation": 0.0}, ""),  # of one colour
    ],
)
def test_troubles_that_cost_quality_alone_are_told_from_the_first_epoch_on(
    changed: dict[str, float], expected: str
) -> None:
    health = HEALTHY._replace(queue_epochs=1.0, **changed)  # type: ignore[arg-type]
    for warm in (True, False):
        found = verdict(tiny_recipe(), health, 0.6, warm)
        assert expected in found.advice
        assert bool(found.advice) == bool(expected)
        assert not found.is_collapse


def test_pixels_may_be_the_cause_of_flat_codes() -> None:
    health = HEALTHY._replace(**FLAT, pixel_mean=120.0, pixel_deviation=60.0)  # type: ignore[arg-type]
    found = verdict(tiny_recipe(), health, 1.0, warm=True)
    assert found.is_collapse
    assert "Pictures reach the network with a mean of 120" in found.advice


@pytest.mark.parametrize(
    ("overrides", "distinct", "cause"),
    [
        ([], 0.1, "10% differ and the others are copies"),
        (["loss.epsilon=0.5"], 1.0, "loss.epsilon (0.5) is above"),
        (["crops.0.scale=[0.02,0.1]"], 1.0, "may show 2% of a picture"),
        ([], 1.0, "stay sharp (--set loss.epsilon_of_spread=0.2)"),
        ([], None, "codes that stay sharp"),  # of a stream no pictures are compared
    ],
)
def test_likeliest_causes_of_flat_codes(overrides: list[str], distinct: float | None, cause: str) -> None:
    health = HEALTHY._replace(**FLAT, distinct=distinct)  # type: ignore[arg-type]
    assert cause in verdict(tiny_recipe(*overrides), health, 1.0, warm=True).advice


def test_clusters_are_flat_without_codes_and_nothing_of_codes_is_advised() -> None:
    recipe = tiny_recipe("objective=deepcluster2", "loss.queue.length=0", "loss.freeze_prototypes_steps=0")
    flat = HEALTHY._replace(spread=0.005, code_entropy=0.0, agreement=1.0)
    told = [verdict(recipe, flat, 1.0, warm=True), verdict(recipe, HEALTHY._replace(rank=1.2), 0.5, warm=True)]
    assert [each.verdict for each in told] == ["flat", "narrow"]
    assert "fewer prototypes" in told[0].advice
    assert not any("epsilon" in each.advice or "codes" in each.advice for each in told)
    assert verdict(recipe, HEALTHY._replace(code_entropy=0.0), 1.0, warm=True).verdict == "healthy"

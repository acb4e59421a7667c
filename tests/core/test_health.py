from __future__ import annotations

import pytest
import torch

from swav_cli.core.health import Health, HealthMeter, effective_rank, score_spread, warning


def test_spread_is_what_sinkhorn_does_not_remove() -> None:
    torch.manual_seed(0)
    scores = torch.randn(50, 8)
    shifted = scores + torch.randn(50, 1) + torch.randn(1, 8)
    assert score_spread(shifted) == pytest.approx(score_spread(scores), rel=1e-5)
    assert score_spread(torch.randn(50, 1) + torch.randn(1, 8)) == pytest.approx(0, abs=1e-6)


def test_effective_rank_counts_directions() -> None:
    assert effective_rank(torch.eye(8)) == pytest.approx(8)
    assert effective_rank(torch.ones(8, 4)) == pytest.approx(1)


def test_the_meter_counts_nearest_prototypes_over_an_epoch() -> None:
    meter = HealthMeter(6, torch.device("cpu"))
    scores = torch.zeros(1, 4, 6)
    scores[0, [0, 1, 2, 3], [0, 0, 1, 1]] = 1
    meter.add(torch.eye(4)[None], scores)
    health = meter.read()
    assert health is not None
    assert health.used_prototypes == 2
    assert health.perplexity == pytest.approx(2)
    assert meter.counts.sum() == 0


def health(spread: float = 0.2, rank: float = 20.0) -> Health:
    return Health(used_prototypes=50, perplexity=40.0, spread=spread, rank=rank)


@pytest.mark.parametrize(
    ("share", "spread", "rank", "epoch", "warm", "expected"),
    [
        (0.999, 0.005, 20, 5, True, "sits at ln K"),
        (0.999, 0.005, 20, 5, False, None),  # normal until prototypes and rate are warm
        (0.999, 0.005, 20, 1, True, None),
        (0.999, 0.2, 20, 5, True, None),  # scores still differ: slow, not dead
        (0.6, 0.2, 20, 5, True, None),
        (0.2, 0.2, 1.3, 5, True, "1.3 directions"),  # a low loss is no proof of health
    ],
)
def test_warnings(share: float, spread: float, rank: float, epoch: int, warm: bool, expected: str | None) -> None:
    said = warning(health(spread, rank), share, epoch, warm)
    assert said is None if expected is None else expected in (said or "")

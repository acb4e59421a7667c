from __future__ import annotations

import math

import pytest
import torch

from swav_cli.core.health import Health, HealthMeter, deviation, effective_rank, twins

CPU = torch.device("cpu")


def test_effective_rank_counts_directions() -> None:
    assert effective_rank(torch.eye(8)) == pytest.approx(8)
    assert effective_rank(torch.ones(8, 4)) == pytest.approx(1)


def of_batch(meter: HealthMeter, scores: torch.Tensor, codes: torch.Tensor) -> Health:
    """Embeddings (A, B, D) are unit vectors, so that half of the prototypes are twins."""
    embeddings = torch.eye(4).expand(len(scores), 4, 4)
    meter.add(embeddings, scores, codes, temperature=0.1)
    return meter.read(torch.eye(6, 4)[:, :4] + torch.tensor([0.0, 0, 0, 1e-3]), assigned=len(scores))


def test_the_meter_counts_nearest_prototypes_over_an_epoch() -> None:
    meter = HealthMeter(6, math.log(6), CPU)
    scores = torch.zeros(1, 4, 6)
    scores[0, [0, 1, 2, 3], [0, 0, 1, 1]] = 1
    health = of_batch(meter, scores, torch.full((1, 4, 6), 1 / 6))
    assert health.used_prototypes == 2
    assert health.perplexity == pytest.approx(2)
    assert health.agreement is None  # of one assigned crop
    assert meter.counts.sum() == 0


def test_the_meter_tells_flat_codes_from_sharp_ones_and_crops_that_agree() -> None:
    meter = HealthMeter(6, math.log(6), CPU)
    flat = torch.full((2, 4, 6), 1 / 6)
    health = of_batch(meter, torch.zeros(2, 4, 6), flat)
    assert (health.code_entropy, health.prediction_entropy) == pytest.approx((1, 1))
    sharp = torch.zeros(2, 4, 6)
    sharp[0, :, 0] = sharp[1, :3, 0] = sharp[1, 3, 5] = 1
    health = of_batch(meter, 10 * sharp, sharp)
    assert (health.code_entropy, health.prediction_entropy) == pytest.approx((0, 0), abs=1e-6)
    assert health.agreement == pytest.approx(0.75)


def test_the_meter_goes_on_from_what_a_checkpoint_holds() -> None:
    torch.manual_seed(0)
    whole, parted = HealthMeter(6, math.log(6), CPU), HealthMeter(6, math.log(6), CPU)
    scores = torch.randn(3, 2, 4, 6)
    codes = scores.softmax(dim=-1)
    for step in range(3):
        whole.add(torch.eye(4).expand(2, 4, 4), scores[step], codes[step], 0.1)
    for step in range(2):
        parted.add(torch.eye(4).expand(2, 4, 4), scores[step], codes[step], 0.1)
    again = HealthMeter(6, math.log(6), CPU)
    again.restore(parted.state())
    again.add(torch.eye(4).expand(2, 4, 4), scores[2], codes[2], 0.1)
    prototypes = torch.randn(6, 4)
    assert again.read(prototypes, 2) == whole.read(prototypes, 2)


def test_twins_are_prototypes_that_are_nearly_one() -> None:
    rows = torch.eye(5)
    rows[1] = rows[0] + torch.tensor([0, 0.05, 0, 0, 0.0])
    assert twins(rows) == 2
    assert twins(torch.eye(5)) == 0
    assert twins(torch.ones(9000, 2)) == 9000


def test_deviation_is_one_on_the_sphere_and_nothing_in_a_point() -> None:
    torch.manual_seed(0)
    assert deviation(torch.nn.functional.normalize(torch.randn(4000, 64), dim=1)) == pytest.approx(1, abs=0.01)
    assert deviation(torch.ones(50, 64) / 8) == 0

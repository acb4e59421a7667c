from __future__ import annotations

import pytest

from swav_cli.core.estimate import estimate
from swav_cli.core.plan import make_model
from tests.conftest import tiny_recipe


def test_parameters_are_counted_and_nothing_is_computed() -> None:
    recipe = tiny_recipe()
    needs = estimate(recipe)
    model = make_model(recipe)
    assert needs.parameters == sum(p.numel() for p in model.parameters())
    head = sum(p.numel() for part in (model.projection_head, model.prototypes) for p in part.parameters())
    assert needs.backbone_parameters == needs.parameters - head


@pytest.mark.parametrize(
    ("override", "times"),
    [("training.batch_size=16", 2), ("training.accumulate=2", 0.5), ("training.precision=bf16", 0.5)],
)
def test_activations_follow_the_batch_and_the_precision(override: str, times: float) -> None:
    plain, changed = estimate(tiny_recipe()), estimate(tiny_recipe(override))
    assert changed.activations_bytes == pytest.approx(times * plain.activations_bytes)


def test_adamw_keeps_one_tensor_more() -> None:
    sgd, adamw = estimate(tiny_recipe()), estimate(tiny_recipe("optimizer.name=adamw"))
    assert adamw.weights_bytes * 3 == sgd.weights_bytes * 4


def test_blocks_computed_anew_keep_their_inputs_and_the_largest_ones_insides() -> None:
    pixels = 2 * 16**2 + 8**2  # of a picture's crops, which four channels see; half as many a side from stage to stage
    stem, head = 2 * 4 * pixels, 3 * (16 + 16 + 8)
    inputs = (4 + 4 + 4) * pixels + (8 + 8) * pixels // 4 + (16 + 16) * pixels // 16 + 32 * pixels // 64
    largest = 4 * 4 * 2 * 16**2  # two convolutions and normalisations of the two large crops
    needs = estimate(tiny_recipe("training.checkpoint_activations=true"))
    assert needs.activations == 8 * (stem + head + inputs + largest)
    assert needs.activations < 0.6 * estimate(tiny_recipe()).activations

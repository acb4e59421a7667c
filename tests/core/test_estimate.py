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

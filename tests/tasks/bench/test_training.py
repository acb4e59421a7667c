"""Steps are timed as a run takes them; what a process of its own does for a compiled network."""

from __future__ import annotations

import pytest
import torch

from swav_cli.data.sources import open_pictures
from swav_cli.tasks.bench import training
from swav_cli.tasks.bench.made_up import Repeated
from swav_cli.tasks.bench.subject import Lying, Subject, with_training
from swav_cli.tasks.bench.training import compiled_there, time_eager
from tests.conftest import tiny_recipe

CPU = torch.device("cpu")
LYING = Lying("shapes:48", 48, True, 0)
ENDLESS = 100_000.0  # seconds, of which few steps take some


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MOST_STEPS", 2)


def test_a_processor_times_the_recipes_batch_where_there_is_time_and_else_fewer() -> None:
    recipe = tiny_recipe("training.batch_size=16", "training.accumulate=2", "training.epochs=1000")
    pictures = Repeated(open_pictures("shapes:48"), 48)
    given = Subject(recipe, pictures, pictures, LYING, "", CPU)
    eager, trainer = time_eager(given, ENDLESS)
    assert (eager.steps.recipe.training.batch_size, eager.steps.recipe.training.accumulate) == (16, 2)
    assert eager.steps.rate > 0
    assert set(eager.parts) == set(eager.shares) == {"views", "network", "codes", "norms", "update"}
    assert trainer.plan.peak_lr == 0  # nothing is learnt
    less, _ = time_eager(given._replace(recipe=with_training(recipe, batch_size=4096, accumulate=1)), 0.0)
    assert less.steps.recipe.training.batch_size == 2


def test_a_compiled_network_is_timed_alone_and_in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda network, **_: compiled.append(network) or network)
    recipe = tiny_recipe("training.epochs=1000", "model.width=4")
    (first, step, peak), end_to_end = compiled_there(recipe.model_dump(mode="json"), LYING, "cpu", ENDLESS)
    assert compiled
    assert min(first, step, peak) > 0
    seconds, waiting, steps = end_to_end
    assert seconds > 0
    assert 0 <= waiting <= 1
    assert steps == 2

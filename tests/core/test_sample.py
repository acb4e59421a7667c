"""The pictures that a run looks at after each epoch: always the same ones, whatever the run does in between."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from swav_cli.core.plan import make_model
from swav_cli.core.sample import Sample
from swav_cli.core.swav import Trainer
from swav_cli.data.sources import open_pictures
from swav_cli.run.checkpoint import load_checkpoint
from swav_cli.run.folder import RunFolder
from swav_cli.run.metrics import read_metrics
from tests.conftest import tiny_recipe
from tests.training import train

CPU = torch.device("cpu")
RECIPE = tiny_recipe()


def test_it_is_the_same_whenever_it_is_read_and_another_by_another_seed() -> None:
    pictures = open_pictures("shapes:48")
    first, again = Sample(RECIPE, pictures), Sample(RECIPE, pictures)
    other = Sample(tiny_recipe("training.seed=1"), pictures)
    assert first.crops.shape == (16, 3, 16, 16)
    assert torch.equal(first.crops, again.crops)
    assert not torch.equal(first.crops, other.crops)


def test_it_holds_a_small_part_of_many_pictures() -> None:
    assert [len(Sample(RECIPE, open_pictures(f"shapes:{count}")).crops) for count in (10, 48, 2000)] == [10, 16, 40]


def test_a_look_tells_which_pictures_have_kept_their_prototype() -> None:
    sample, model = Sample(RECIPE, open_pictures("shapes:48")), make_model(RECIPE)
    seen = sample.look(model, CPU)
    assert seen.features.shape == (16, 32)
    assert seen.nearest.shape == (16,)
    assert seen.stability is None
    assert sample.look(model, CPU).stability == 1
    with torch.no_grad():
        model.prototypes.weight.copy_(model.prototypes.weight.roll(1, dims=0))
    assert sample.look(model, CPU).stability == 0


def test_a_look_changes_nothing_of_the_model() -> None:
    sample, model = Sample(RECIPE, open_pictures("shapes:48")), make_model(RECIPE)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    sample.look(model, CPU)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.parametrize("stop", [6, 9])
def test_a_run_that_goes_on_tells_the_same_as_one_that_was_never_stopped(tmp_path: Path, stop: int) -> None:
    def trainer() -> Trainer:
        return Trainer(RECIPE, open_pictures(RECIPE.data.train), CPU)

    train(trainer(), tmp_path / "whole")
    (tmp_path / "parted").mkdir()
    begun = trainer()
    steps = begun.steps(0)
    for step in steps:
        if step.ends_epoch:
            begun.health()
        if step.number == stop:
            state = begun.state()
            steps.close()
    again = trainer()
    again.restore(state)
    train(again, tmp_path / "parted")
    whole, parted = (
        {line["epoch"]: line for line in read_metrics(tmp_path / name / "metrics.jsonl") if line["kind"] == "epoch"}
        for name in ("whole", "parted")
    )
    assert parted.keys() == {1, 2}
    for epoch, line in parted.items():
        assert line == whole[epoch]


def test_a_checkpoint_holds_what_was_seen(tmp_path: Path) -> None:
    trainer = Trainer(RECIPE, open_pictures(RECIPE.data.train), CPU)
    train(trainer, tmp_path)
    assert trainer.sample is not None
    kept = load_checkpoint(RunFolder(tmp_path).last)["sample_nearest"]
    assert torch.equal(kept, trainer.sample.nearest)

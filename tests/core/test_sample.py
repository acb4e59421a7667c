"""The pictures that a run looks at after each epoch: always the same ones, whatever the run does in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from swav_cli.core.model import SwAV
from swav_cli.core.plan import make_model
from swav_cli.core.sample import Sample
from swav_cli.core.swav import Trainer
from swav_cli.data.pictures import Pictures
from swav_cli.data.sources import open_pictures
from swav_cli.recipe.schema import Recipe
from swav_cli.run.checkpoint import load_checkpoint
from swav_cli.run.folder import RunFolder
from swav_cli.run.metrics import read_metrics
from tests.conftest import tiny_recipe
from tests.training import train

CPU = torch.device("cpu")
RECIPE = tiny_recipe()
SPENT = ("seconds", "images_per_second", "memory")


def held(recipe: Recipe, pictures: Pictures) -> Tensor:
    return Sample(recipe)._read(pictures).crops


def stability(sample: Sample, model: SwAV) -> float | None:
    """Of pictures that have been read: what a later look is given makes no difference."""
    seen = sample.look(model, open_pictures("shapes:1"), CPU)
    return seen.stability if seen else None


def of_training(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in SPENT}


def test_it_is_the_same_whenever_it_is_read_and_another_by_another_seed() -> None:
    pictures = open_pictures("shapes:48")
    first, again = held(RECIPE, pictures), held(RECIPE, pictures)
    other = held(tiny_recipe("training.seed=1"), pictures)
    assert first.shape == (16, 3, 16, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_it_holds_a_small_part_of_many_pictures() -> None:
    assert [len(held(RECIPE, open_pictures(f"shapes:{count}"))) for count in (10, 48, 2000)] == [10, 16, 40]


def test_a_look_tells_which_pictures_have_kept_their_prototype() -> None:
    sample, model, pictures = Sample(RECIPE), make_model(RECIPE), open_pictures("shapes:48")
    seen = sample.look(model, pictures, CPU)
    assert seen is not None
    assert seen.features.shape == (16, 32)
    assert seen.stability is None
    assert stability(sample, model) == 1
    with torch.no_grad():
        model.prototypes.weight.copy_(model.prototypes.weight.roll(1, dims=0))
    assert stability(sample, model) == 0


def test_a_look_tells_how_pixels_reach_the_network() -> None:
    """As they are where nothing is taken off and nothing divided."""
    plain = tiny_recipe("data.mean=[0,0,0]", "data.std=[1,1,1]")
    pictures = open_pictures("shapes:48")
    seen = Sample(plain).look(make_model(plain), pictures, CPU)
    crops = held(plain, pictures).double() / 255
    assert seen is not None
    assert seen.pixel_mean == pytest.approx(float(crops.mean()), rel=1e-5)
    assert seen.pixel_deviation == pytest.approx(float(crops.std()), rel=1e-5)


def test_pictures_that_can_not_be_read_are_left_out(tmp_path: Path) -> None:
    for number in range(4):
        Image.new("RGB", (20, 20), (60 * number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "4.png").write_bytes(b"no picture")
    pictures = open_pictures(str(tmp_path))
    assert len(held(RECIPE, pictures)) == 4
    for path in tmp_path.iterdir():
        path.write_bytes(b"no picture")
    assert Sample(RECIPE).look(make_model(RECIPE), pictures, CPU) is None


def test_a_look_changes_nothing_of_the_model() -> None:
    sample, model = Sample(RECIPE), make_model(RECIPE)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    sample.look(model, open_pictures("shapes:48"), CPU)
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
            begun.health(step.epoch_share)
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
        assert of_training(line) == of_training(whole[epoch])


def test_a_checkpoint_holds_what_was_seen(tmp_path: Path) -> None:
    trainer = Trainer(RECIPE, open_pictures(RECIPE.data.train), CPU)
    train(trainer, tmp_path)
    kept = load_checkpoint(RunFolder(tmp_path).last)["sample_nearest"]
    assert torch.equal(kept, trainer.sample.nearest)

"""Judging at a run's end: as `swav eval` judges, on the run's device, and never at the cost of what was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from swav_cli.core.plan import make_model
from swav_cli.core.swav import Trainer
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError
from swav_cli.evaluate import neighbours
from swav_cli.parallel.stopping import CtrlC
from swav_cli.recipe.schema import Recipe
from swav_cli.tasks import pretrain
from swav_cli.tasks.pretrain_results import SHOWN, Judge, show_prototypes
from tests.conftest import Command, tiny_recipe
from tests.data.test_same_pictures import draw
from tests.evaluate.forked import by_processes


@pytest.fixture
def trained(swav_here: Command, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that stopped where judging begins: the memory is full."""

    def full(*_: object, **__: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8.00 GiB.")

    with monkeypatch.context() as broken:
        broken.setattr(Judge, "accuracy", full)
        said = swav_here("pretrain", tiny_file)
    assert said.code == 4
    assert "the memory is full. Training is done and saved in runs/tiny: `swav eval runs/tiny` judges it" in said.err
    return tmp_path / "runs" / "tiny"


def test_the_same_command_judges_and_trains_no_more(
    trained: Path, swav_here: Command, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "train_step", never)
    weights = (trained / "model.safetensors").read_bytes()
    said = swav_here("pretrain", tiny_file)
    assert said.code == 0, said.err
    assert (trained / "model.safetensors").read_bytes() == weights
    assert {"knn", "knn_untrained", "loss"} <= json.loads((trained / "results.json").read_text()).keys()


def test_swav_eval_judges_it_and_its_numbers_stay(trained: Path, swav_here: Command, tiny_file: Path) -> None:
    said = swav_here("eval", "runs/tiny", "--json", "--device", "cpu")
    assert said.code == 0, said.err
    by_eval = {each["k"]: each["top1"] for each in json.loads(said.out)["learnt"]["knn"] if each["temperature"] == 0.07}
    assert swav_here("pretrain", tiny_file).code == 0
    results = json.loads((trained / "results.json").read_text())
    assert results["knn"] == by_eval[20]
    assert results["eval"] == json.loads(said.out)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("val: is gone"), 4, "swav: val: is gone. Training is done and saved in runs/tiny: `swav eval"),
        (CtrlC(), 130, "warning: the run was not judged to the end. Training is done and saved in runs/tiny"),
    ],
)
def test_however_it_fails_a_person_is_told_that_training_is_saved(
    swav_here: Command,
    tiny_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Any,
    code: int,
    words: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pretrain, "show_prototypes" if code == 4 else "judged", fail)
    said = swav_here("pretrain", tiny_file)
    assert said.code == code
    assert words in said.err
    assert (tmp_path / "runs" / "tiny" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("error", "words"),
    [(UserError("val: is gone"), "val: is gone"), (torch.OutOfMemoryError("CUDA out of memory"), "the memory is full")],
)
def test_judging_that_fails_on_the_way_does_not_end_training(
    swav_here: Command, tiny_file: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    accuracy, calls = Judge.accuracy, []

    def fail_at_first(self: Judge, *given: Any) -> float:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return accuracy(self, *given)

    monkeypatch.setattr(Judge, "accuracy", fail_at_first)
    said = swav_here("pretrain", tiny_file, "--set", "evaluation.knn_every=2")
    assert said.code == 0, said.err
    assert f"warning: not judged after epoch 2: {words}" in said.err
    assert len(calls) == 3


def test_a_sheet_of_prototypes_is_the_same_by_several_processes_and_without_what_is_unreadable(tmp_path: Path) -> None:
    """Pictures that can't be read used to stand first on every line, as black squares."""
    names = [f"{kind}/{number}.png" for kind in "ab" for number in range(6)]
    draw(tmp_path / "photos", *names)
    for number, name in enumerate(names):
        colour = (20 * number, 255 - 20 * number, 90)
        Image.new("RGB", (8, 8), colour).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "a" / "broken.png").write_bytes(b"no picture")
    recipe = tiny_recipe(f"data.train={tmp_path / 'photos'}", "data.val=null")

    draw_sheet(0, recipe, tmp_path / "alone.png")
    by_processes(2, tmp_path, draw_sheet, recipe, tmp_path / "together.png")
    alone, together = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("alone", "together"))
    assert np.array_equal(alone, together)
    lines, tiles = recipe.model.prototypes, min(SHOWN, len(names))
    assert alone.shape[1] % tiles == 0
    side = alone.shape[1] // tiles
    assert alone.shape[0] // side == min(SHOWN, int(lines))
    assert (alone[side // 2 :: side, side // 2 :: side].sum(axis=2) > 200).all()  # no black square in a middle


def draw_sheet(rank: int, recipe: Recipe, path: Path) -> None:
    show_prototypes(Trainer(recipe, open_pictures(recipe.data.train), torch.device("cpu")), path)


def test_it_judges_on_the_device_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    where: list[Any] = []
    real = neighbours.knn_accuracies

    def seen(*given: Any, **how: Any) -> Any:
        where.append(how["device"])
        return real(*given, **how)

    monkeypatch.setattr(neighbours, "knn_accuracies", seen)
    recipe = tiny_recipe()
    device = torch.device("cpu", 0)
    trainer = Trainer(recipe, open_pictures("shapes:48"), device)
    assert 0 <= Judge(recipe, trainer.pictures, device).accuracy(trainer.model) <= 100
    assert where == [device]


def test_pictures_of_the_run_that_judge_it_are_not_their_own_neighbours(tmp_path: Path) -> None:
    """Two pictures alike in all but their class: each is the other's nearest, unless itself may be."""
    draw(tmp_path, "a/1.png", "b/1.png")
    recipe = tiny_recipe(f"data.train={tmp_path}", f"data.val={tmp_path}", "evaluation.knn_k=1")
    judge = Judge(recipe, open_pictures(str(tmp_path)), torch.device("cpu"))
    assert judge.accuracy(make_model(recipe)) == 0


@pytest.mark.parametrize(
    ("val", "said"), [("{0}/flat", "flat: has no labels to judge by"), ("{0}/other", "class 'c' is not among the 2 of")]
)
def test_pictures_that_cannot_judge_are_refused_before_training(tmp_path: Path, val: str, said: str) -> None:
    draw(tmp_path, "train/a/1.png", "train/b/1.png", "flat/1.png", "other/c/1.png", "other/a/1.png")
    recipe = tiny_recipe(f"data.val={val.format(tmp_path)}")
    with pytest.raises(UserError, match=said):
        Judge(recipe, open_pictures(str(tmp_path / "train")), torch.device("cpu"))


def test_a_bank_without_labels_is_refused_with_what_to_name(tmp_path: Path) -> None:
    draw(tmp_path, "flat/1.png")
    with pytest.raises(UserError, match=r"has no labels for k-NN to learn from; name labelled pictures as data\.bank"):
        Judge(tiny_recipe(), open_pictures(str(tmp_path / "flat")), torch.device("cpu"))

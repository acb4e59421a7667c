"""`swav eval` where something is amiss: pictures that have moved, weights that are not finite, lone pictures."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from swav_cli.core.weights import Model, save_model
from swav_cli.recipe.file import dump_recipe
from swav_cli.tasks import eval_svm
from tests.commands.test_eval import home, paint
from tests.commands.test_extract import ABOUT
from tests.commands.test_linear_eval import draw
from tests.conftest import Command, tiny_recipe

__all__ = ["home"]
EXACT = ("--json", "--precision", "float32", "--device", "cpu")


@pytest.mark.parametrize("moved", ["train", "val"])
@pytest.mark.parametrize("labelled", [True, False])
def test_pictures_of_the_run_that_have_moved_are_one_line(
    home: Path, swav_here: Command, moved: str, labelled: bool
) -> None:
    for part in ("train", "val"):
        draw(home / part, "ab", 4)
    recipe = tiny_recipe("data.train=train", f"data.val={'val' if labelled else 'null'}")
    (home / "runs" / "tiny" / "recipe.yaml").write_text(dump_recipe(recipe))
    shutil.move(home / moved, home / "elsewhere")
    said = swav_here("eval", *EXACT)
    if moved == "val" and not labelled:
        assert said.code == 0, said.err
        return
    assert said.code == 2
    assert f"swav: the pictures of runs/tiny's run: {moved}: no such folder" in said.err
    assert "--data PATH" in said.err
    assert swav_here("eval", "--data", "elsewhere", *EXACT).code == 0


def test_a_classifier_that_is_not_finite_has_no_accuracy(home: Path, swav_here: Command) -> None:
    about = replace(ABOUT, classes=("a", "b"))
    model = about.build()
    torch.nn.init.constant_(model.fc.weight, float("nan"))
    save_model(home / "broken.safetensors", Model(model, about))
    draw(home / "photos", "ab", 2)
    said = swav_here("eval", "broken.safetensors", "--data", "photos", *EXACT)
    assert said.code == 2
    assert "photos: no answers to its 4 pictures: they can't be read, or the weights of broken" in said.err


def test_a_model_that_is_not_finite_has_no_numbers(home: Path, swav_here: Command) -> None:
    model = ABOUT.build()
    torch.nn.init.constant_(model.conv1.weight, float("nan"))
    save_model(home / "broken.safetensors", Model(model, ABOUT))
    draw(home / "photos", "ab", 2)
    for more in ((), ("--svm", "--bank", "photos")):
        said = swav_here("eval", "broken.safetensors", "--data", "photos", *more, *EXACT)
        assert said.code == 2
        assert "broken.safetensors: its features of photos are not finite" in said.err
        assert said.out == ""


def test_svms_of_classes_of_one_picture_say_so_and_nothing_else(home: Path, swav_here: Command) -> None:
    paint(home / "train", 4, seed=1)
    paint(home / "test", 2, seed=2)
    for name in "ab":
        for path in sorted((home / "train" / name).iterdir())[1:]:
            path.unlink()
    said = swav_here("eval", "--svm", "--data", "test", "--bank", "train", *EXACT)
    assert said.code == 0, said.err
    assert "train: class a and 1 more have one picture to train on, without a part in choosing the cost" in said.err
    assert "Warning" not in said.err


def test_svms_that_find_no_room_are_refused_before_any_work(
    home: Path, swav_here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(home / "photos", "ab", 2)
    monkeypatch.setattr(eval_svm, "free_memory", lambda: 1000.0)
    monkeypatch.setattr(eval_svm, "represent_pictures", None)
    said = swav_here("eval", "--svm", "--data", "photos", "--bank", "photos", *EXACT)
    assert said.code == 2
    assert "--svm: takes some 0.0 GB of memory" in said.err
    assert "swav linear-eval --cached" in said.err

"""From which weights a run starts, and what follows from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from swav_cli.core.plan import make_model
from swav_cli.core.weights import Model, about
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError
from swav_cli.recipe.file import load_recipe, read_recipe
from swav_cli.recipe.schema import Recipe
from swav_cli.tasks import pretrain_weights
from swav_cli.tasks.pretrain import pretrain, settle
from swav_cli.tasks.pretrain_minutes import Asked
from swav_cli.tasks.pretrain_weights import as_started, wanted_weights
from swav_cli.zoo.catalogue import find
from swav_cli.zoo.load import Loaded
from tests.conftest import Command, tiny_recipe

NAME = "swav-200e-mmpretrain"


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder of pictures that are large enough for published weights, of which a small one is made up."""
    rng = np.random.default_rng(0)
    for number in range(20):
        Image.fromarray(rng.integers(0, 255, (70, 80, 3), dtype=np.uint8)).save(tmp_path / f"{number:02d}.png")
    monkeypatch.setattr(pretrain_weights, "published_here", lambda: [find(NAME)])
    made_up = tiny_recipe("model.embedding_dim=16", "data.mean=[0.485,0.456,0.406]")
    loaded = Loaded(Model(make_model(made_up), about(made_up)), "", "")
    monkeypatch.setattr(pretrain_weights, "load", lambda *_: loaded)
    return str(tmp_path)


def folder(path: str, *more: str, init_from: str | None = None, held: tuple[str, ...] = ()) -> tuple[Recipe, Any]:
    recipe = wanted_weights(load_recipe("small-folder", [f"data.train={path}", *more]), init_from)
    run = settle(recipe, "cpu", asked=Asked(held=held))
    return run.recipe, {each.key: each.reason for each in run.derived}


def test_published_weights_that_are_here_are_the_default_and_one_may_say_no(large: str) -> None:
    recipe, reasons = folder(large)
    assert (recipe.model.init_from, recipe.model.width, recipe.model.stem) == (NAME, 4, "small")
    assert (recipe.model.embedding_dim, recipe.data.mean) == (16, [0.485, 0.456, 0.406])
    assert (recipe.training.epochs, recipe.optimizer.lr) == (20, 0.1)
    assert "--init-from none: from scratch" in reasons["model.init_from"]
    recipe, reasons = folder(large, init_from="none")
    assert (recipe.model.init_from, recipe.model.width, recipe.training.epochs) == (None, 64, 200)
    assert "model.init_from" not in reasons
    recipe, _ = folder(large, "model.width=32", held=("model.width",))
    assert (recipe.model.init_from, recipe.model.width) == (None, 32)  # a network of one's own has none


def test_pictures_that_do_not_fit_published_weights_train_from_scratch(large: str, photos: Path) -> None:
    said: list[str] = []
    for changes, why in (["data.channels=1"], "takes colour"), ([f"data.train={photos}"], "larger than these, of 24"):
        recipe = load_recipe("small-folder", [f"data.train={large}", *changes])
        pictures = open_pictures(recipe.data.train, channels=recipe.data.channels)
        run = pretrain_weights.started(recipe, pictures, (), True, said.append)
        assert run.recipe.model.init_from is None
        assert why in said[-1]
        assert f"--init-from {NAME} takes it all the same" in said[-1]
    gray = load_recipe("small-folder", [f"data.train={large}", "data.channels=1"])
    with pytest.raises(UserError, match=r"takes pictures of 3 channels, and data\.channels is 1"):
        settle(wanted_weights(gray, NAME), "cpu")


def test_weights_that_are_broken_do_not_keep_a_run_from_beginning(large: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Loaded:
        raise UserError("its sha256 begins with 00000000")

    monkeypatch.setattr(pretrain_weights, "load", broken)
    assert folder(large)[0].model.init_from is None


def test_a_run_takes_the_network_of_another_goes_on_and_is_compared_with_it(
    swav_here: Command, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert swav_here("pretrain", tiny_file, "--epochs", 1, "--set", "schedule.warmup_epochs=0", "--set",
                     "loss.queue.length=0").code == 0  # fmt: skip
    content = yaml.safe_load(tiny_file.read_text())
    content["model"] |= {"width": 8, "hidden_dim": 24, "prototypes": 10}
    content["data"] |= {"train": "shapes:16", "val": "shapes:16"}
    content["training"] |= {"epochs": "auto"}
    content["optimizer"]["lr"] = "auto"
    tiny_file.write_text(yaml.safe_dump(content))
    typed = ("pretrain", tiny_file, "--init-from", "runs/tiny", "--out", "second", "--set", "loss.queue.length=0")
    done = swav_here(*typed, "--json")
    assert done.code == 0, done.err
    assert "model.width = 4  (that of runs/tiny)" in done.err
    assert "projection head 9 of 9, prototypes begin anew" in done.err
    assert "weights it began with" in done.err
    assert "knn_start" in json.loads(done.out)
    kept = read_recipe(Path("second/recipe.yaml"))
    assert isinstance(kept, Recipe)
    assert (kept.model.init_from, kept.model.width, kept.model.hidden_dim) == ("runs/tiny", 4, 16)
    assert (kept.training.epochs, kept.optimizer.lr) == (20, 0.1)
    assert "is finished" in swav_here(*typed).err
    refused = swav_here(*typed[:3], "none", *typed[4:])
    assert refused.code == 2
    assert "model.init_from: runs/tiny -> None" in refused.err


def test_a_run_of_an_earlier_version_goes_on_whatever_it_began_with(tmp_path: Path) -> None:
    """Its recipe says nothing of weights."""
    path = tmp_path / "recipe.yaml"
    begun = tiny_recipe()
    content = begun.model_dump(mode="json")
    del content["model"]["init_from"]
    path.write_text(yaml.safe_dump(content))
    typed = wanted_weights(begun, "runs/other")
    assert as_started(typed, begun, path, ()) == begun
    content["model"]["init_from"] = None
    path.write_text(yaml.safe_dump(content))
    assert as_started(typed, begun, path, ()).model.init_from == "runs/other"  # and is refused as another recipe


def test_an_address_in_a_file_is_not_fetched(tmp_path: Path) -> None:
    path = tmp_path / "theirs.yaml"
    path.write_text(yaml.safe_dump(tiny_recipe("model.init_from=https://host.example/w.pth").model_dump(mode="json")))
    with pytest.raises(UserError, match="starts from the address 'https://host"):
        load_recipe(path)
    assert load_recipe(path, ["model.init_from=https://host.example/w.pth"]).model.init_from is not None


def test_the_python_call_takes_none_too(tmp_path: Path) -> None:
    recipe = tiny_recipe("model.init_from=nowhere", "training.epochs=1", "data.val=null", "loss.queue.length=0",
                         "schedule.warmup_epochs=0", "loss.freeze_prototypes_steps=0")  # fmt: skip
    with pytest.raises(UserError, match="nowhere: no such run"):
        pretrain(recipe, tmp_path / "a", device="cpu")
    assert pretrain(recipe, tmp_path / "a", device="cpu", init_from="none")["epochs"] == 1

"""Every value of a recipe is read by the work that the recipe describes: none does nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import get_args

import pytest
import torch

from swav_cli.core.deepcluster import DeepCluster, make_trainer
from swav_cli.data.sources import open_pictures
from swav_cli.planning.derive import derive
from swav_cli.recipe.classifier_schema import CachedRecipe, FinetuneRecipe, LinearRecipe
from swav_cli.recipe.part import Part
from swav_cli.recipe.schema import Recipe
from swav_cli.report.console import Screen
from swav_cli.tasks.classifier import train_classifier
from swav_cli.tasks.linear_eval_cached import probe_classifier
from swav_cli.tasks.pretrain import pretrain
from tests.conftest import Command, classifier_recipe, tiny_recipe
from tests.data.tars import sample_tar
from tests.house.tree import PACKAGE

# What reads a value only to settle it, compare it or tell it does nothing with it; but of `reference` that is the use.
NO_WORK = ("planning/derive.py", "run/origin.py", "report/")
TELLS = "report/tables.py"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """`Class.field` of what some work reads while a test runs."""
    found: set[str] = set()
    plain = Part.__getattribute__

    def noted(part: Part, name: str) -> object:
        if not name.startswith("_") and name in type(part).model_fields and is_work(sys._getframe(1)):
            found.add(f"{type(part).__name__}.{name}")
        return plain(part, name)

    monkeypatch.setattr(Part, "__getattribute__", noted)
    return found


def is_work(frame: FrameType | None) -> bool:
    """Whether the code that reads here, or that asks a schema's public property to, is that of some work."""
    while frame is not None:
        file, function = Path(frame.f_code.co_filename), frame.f_code.co_name
        frame = frame.f_back
        if function == "noted":  # a property is an attribute as well
            continue
        if not file.is_relative_to(PACKAGE):
            return False
        place = file.relative_to(PACKAGE).as_posix()
        if not place.startswith("recipe/"):
            return place.startswith(TELLS) or not place.startswith(NO_WORK)
        if not place.endswith(("schema.py", "sections.py")) or function.startswith(
            "_"
        ):  # all of a file, or a search for contradictions
            return False
    return False


def fields_of(schema: type[Part]) -> Iterator[str]:
    """`Class.field` of a schema and of all that it is made of."""
    for name, field in schema.model_fields.items():
        parts = [part for part in _all_types(field.annotation) if isinstance(part, type) and issubclass(part, Part)]
        if not parts:
            yield f"{schema.__name__}.{name}"
        for part in parts:
            yield from fields_of(part)


def _all_types(annotation: object) -> Iterator[object]:
    yield annotation
    for inner in get_args(annotation):
        yield from _all_types(inner)


SOME_BAD = ("data.train=photos", "data.val=photos", "data.max_bad=0.5")  # how many may be is asked where one is


@pytest.fixture
def place(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (photos / "plain" / "damaged.png").touch()
    return tmp_path


def test_of_pretraining(read: set[str], place: Path) -> None:
    recipe = tiny_recipe("optimizer.name=lars", "training.epochs=2", "loss.epsilon_of_spread=0.2", *SOME_BAD)
    pretrain(recipe, "runs/tiny", device="cpu", screen=Screen())
    of_others = {"DataRecipe.shuffle_buffer", "ClustersRecipe.heads", "ClustersRecipe.iterations"}
    assert set(fields_of(Recipe)) - read == {*of_others, "Recipe.reference"}


def test_of_clusters(read: set[str]) -> None:
    wanted = ("objective=deepcluster2", "loss.queue.length=0", "loss.freeze_prototypes_steps=0")
    trainer = make_trainer(tiny_recipe(*wanted), open_pictures("shapes:16"), torch.device("cpu"))
    assert isinstance(trainer, DeepCluster)
    trainer.cluster()
    assert {"Recipe.objective", "ClustersRecipe.heads", "ClustersRecipe.iterations"} - read == set()


def test_of_a_stream(read: set[str], place: Path) -> None:
    pytest.importorskip("webdataset")
    sample_tar(place / "a.tar", 16)
    stream = (
        "data.train=pipe:cat a.tar", "data.stream_pictures=16", "data.val=null", "loss.queue.length=0",
        "loss.freeze_prototypes_steps=0", "training.epochs=1", "schedule.warmup_epochs=0",
    )  # fmt: skip
    pretrain(tiny_recipe(*stream), "stream", device="cpu")
    assert {"DataRecipe.train", "DataRecipe.shuffle_buffer", "DataRecipe.stream_pictures"} - read == set()


def test_of_classifiers(read: set[str], place: Path) -> None:
    pretrain(tiny_recipe("training.epochs=2"), "runs/tiny", device="cpu")
    changes = ("optimizer.name=lars", "schedule.drop_epochs=[1]", *SOME_BAD)
    read.clear()  # both kinds have parts of the same classes
    train_classifier(classifier_recipe(LinearRecipe, *changes), "linear", device="cpu")
    assert set(fields_of(LinearRecipe)) - read == {*fields_of(CachedRecipe), "LinearRecipe.reference"}
    read.clear()
    probe_classifier(classifier_recipe(LinearRecipe), "cached", device="cpu")
    assert set(fields_of(CachedRecipe)) - read == set()
    read.clear()
    train_classifier(classifier_recipe(FinetuneRecipe, *changes), "finetune", device="cpu")
    assert set(fields_of(FinetuneRecipe)) - read == {"FinetuneRecipe.reference"}


def test_of_the_list_of_recipes(read: set[str], swav_here: Command) -> None:
    assert swav_here("recipes").code == 0
    assert {f"{schema.__name__}.reference" for schema in (Recipe, LinearRecipe, FinetuneRecipe)} - read == set()


def test_a_field_that_nothing_reads_is_noticed(read: set[str]) -> None:
    class Unread(Part):
        forgotten: int = 3

    assert set(fields_of(Unread)) - read == {"Unread.forgotten"}


def test_settling_and_checking_a_recipe_are_no_work(read: set[str]) -> None:
    recipe = tiny_recipe("training.epochs=auto", "optimizer.lr=auto")
    derive(recipe, open_pictures("shapes:48"), torch.device("cpu"))
    assert len(recipe.assigned_crops) == 2
    assert read == set()

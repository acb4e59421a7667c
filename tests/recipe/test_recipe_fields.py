"""Every value of a recipe is read by the work that the recipe describes: none does nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from swav_cli.recipe.classifier_schema import FinetuneRecipe, LinearRecipe
from swav_cli.recipe.schema import Part, Recipe
from swav_cli.report.console import Screen
from swav_cli.tasks.classifier import train_classifier
from swav_cli.tasks.linear_eval_cached import probe_classifier
from swav_cli.tasks.pretrain import pretrain
from tests.conftest import Command, classifier_recipe, tiny_recipe
from tests.data.tars import sample_tar

# Code that reads whatever fields there are says nothing about one of them, nor does a search for contradictions.
OF_ALL_FIELDS = ("recipe_file.py", "recipe_keys.py")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """`Class.field` of what is read while a test runs."""
    found: set[str] = set()
    plain = Part.__getattribute__

    def noted(part: Part, name: str) -> object:
        if not name.startswith("_") and name in type(part).model_fields and _counts(sys._getframe(1).f_code):
            found.add(f"{type(part).__name__}.{name}")
        return plain(part, name)

    monkeypatch.setattr(Part, "__getattribute__", noted)
    return found


def _counts(code: object) -> bool:
    file, function = Path(code.co_filename), code.co_name  # type: ignore[attr-defined]
    checks = file.name.endswith("recipe.py") and function.startswith("_")
    return "swav_cli" in file.parts and not checks and file.name not in OF_ALL_FIELDS


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


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_of_pretraining(read: set[str], place: Path, swav_here: Command) -> None:
    pretrain(tiny_recipe("optimizer.name=lars", "training.epochs=2"), "runs/tiny", device="cpu", screen=Screen())
    pytest.importorskip("webdataset")
    sample_tar(place / "a.tar", 16)
    stream = (
        "data.train=pipe:cat a.tar", "data.stream_pictures=16", "data.val=null", "loss.queue.length=0",
        "loss.freeze_prototypes_steps=0", "training.epochs=1", "schedule.warmup_epochs=0",
    )  # fmt: skip
    pretrain(tiny_recipe(*stream), "stream", device="cpu")
    assert swav_here("recipes").code == 0  # which tells what each came to
    assert set(fields_of(Recipe)) - read == set()


def test_of_classifiers(read: set[str], place: Path, swav_here: Command) -> None:
    pretrain(tiny_recipe("training.epochs=2"), "runs/tiny", device="cpu")
    train_classifier(classifier_recipe(LinearRecipe, "optimizer.name=lars"), "linear", device="cpu")
    probe_classifier(classifier_recipe(LinearRecipe), "cached", device="cpu")
    finetune = classifier_recipe(FinetuneRecipe, "optimizer.name=lars", "schedule.drop_epochs=[1]")
    train_classifier(finetune, "finetune", device="cpu")
    assert swav_here("recipes").code == 0
    assert {*fields_of(LinearRecipe), *fields_of(FinetuneRecipe)} - read == set()


def test_a_field_that_nothing_reads_is_noticed(read: set[str]) -> None:
    class Unread(Part):
        forgotten: int = 3

    assert set(fields_of(Unread)) - read == {"Unread.forgotten"}

from __future__ import annotations

import os
from pathlib import Path

import pytest

from swav_cli.files import write_text
from swav_cli.recipe.classifier_schema import LinearRecipe
from swav_cli.recipe.file import dump_recipe
from swav_cli.run.newest import newest_run
from tests.conftest import classifier_recipe, tiny_recipe


def finished(name: str, recipe: str, at: float) -> None:
    """A run that ended at that moment."""
    write_text(Path("runs") / name / "recipe.yaml", recipe)
    model = Path("runs") / name / "model.safetensors"
    model.write_bytes(b"")
    os.utime(model, (at, at))


def test_the_run_that_was_trained_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    assert newest_run(told.append) is None
    assert newest_run(told.append, pretrained=True) is None
    finished("z", dump_recipe(tiny_recipe()), at=1000)
    finished("b", dump_recipe(tiny_recipe()), at=3000)
    finished("c", dump_recipe(tiny_recipe()), at=2000)
    finished("linear", dump_recipe(classifier_recipe(LinearRecipe)), at=4000)
    write_text(Path("runs/begun/recipe.yaml"), dump_recipe(tiny_recipe()))
    assert newest_run(told.append) == "runs/linear"
    assert newest_run(told.append, pretrained=True) == "runs/b"
    assert told == ["model: runs/linear", "model: runs/b"]

"""Which recipe a command means, asked from Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from swav_cli.errors import UserError
from swav_cli.recipe.file import dump_recipe
from swav_cli.recipe.usual import FINETUNE, LINEAR, SMALL
from swav_cli.tasks.recipes import finetune_recipe, linear_recipe, list_recipes, pretraining_recipe, recipe_text
from tests.conftest import tiny_recipe


def test_a_folder_stands_for_its_recipe_and_the_recipes_labels_go_with_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "quickstart"):
        (tmp_path / name).mkdir()
    meant = pretraining_recipe("photos", overrides=["training.epochs=3"])
    assert (meant.name, meant.data.train, meant.training.epochs) == ("small-folder", "photos", 3)
    assert pretraining_recipe("quickstart").data.val is not None  # the recipe, though a folder is called so
    assert pretraining_recipe("quickstart", "photos").data.val is None
    assert pretraining_recipe("quickstart", "photos", ["data.val=shapes"]).data.val == "shapes"
    with pytest.raises(UserError, match="is a folder of pictures already; leave --data out"):
        pretraining_recipe("photos", "photos")


@pytest.mark.parametrize(("size", "which"), [(SMALL, 0), (SMALL + 1, 1)])
def test_a_classifiers_usual_recipe_follows_from_the_size_of_the_models_pictures(
    tmp_path: Path, size: int, which: int
) -> None:
    recipe = tiny_recipe()
    crops = [crop.model_copy(update={"size": size}) for crop in recipe.crops]
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe.model_copy(update={"crops": crops})))
    meant = (linear_recipe(tmp_path), finetune_recipe(tmp_path, overrides=["data.labels=10%"]))
    assert [recipe.name for recipe in meant] == [LINEAR[which], FINETUNE[which]]
    assert [recipe.model for recipe in meant] == [str(tmp_path)] * 2
    assert meant[1].data.labels == "10%"
    assert linear_recipe(tmp_path, LINEAR[1 - which]).name == LINEAR[1 - which]
    assert linear_recipe("swav-800e").name == LINEAR[1]  # of no run


def test_recipes_are_listed_and_read_by_name() -> None:
    names = [row["name"] for row in list_recipes()]
    assert {"quickstart", *LINEAR, *FINETUNE} <= set(names)
    assert recipe_text("quickstart").startswith("#")

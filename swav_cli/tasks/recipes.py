"""Recipes by their names: those that come with swav, and the one that a command means.

Nothing here loads torch, but for a look at a model's run: a wrong word is told at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from swav_cli.data.paths import expanded
from swav_cli.data.shards.names import is_stream
from swav_cli.errors import UserError
from swav_cli.recipe.classifier_schema import ClassifierRecipe, FinetuneRecipe, LinearRecipe
from swav_cli.recipe.file import COMMANDS, find_recipe, load_as, load_recipe, read_recipe, shipped_recipes
from swav_cli.recipe.schema import Recipe
from swav_cli.recipe.usual import FINETUNE, FOLDER, LINEAR, SMALL

NOTED = "training.minutes"
Labelled = TypeVar("Labelled", bound=ClassifierRecipe)


def list_recipes() -> list[dict[str, Any]]:
    """The shipped recipes, each in a few values; what `swav recipes --json` prints."""
    return [
        {
            "name": recipe.name,
            "command": COMMANDS[type(recipe)],
            "data": recipe.data.train,
            "epochs": recipe.training.epochs,
            "batch": recipe.training.batch_size,
            "result": recipe.reference,
        }
        for recipe in map(read_recipe, shipped_recipes().values())
    ]


def recipe_text(name: str) -> str:
    """A recipe's file with its comments; what `swav recipes show` prints.

    Raises:
        UserError: no such recipe, or a file that is none.
    """
    path = find_recipe(name)
    read_recipe(path)
    return path.read_text(encoding="utf-8")


def pretraining_recipe(recipe: str, data: str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """What `swav pretrain` means by a file, a shipped recipe's name, or a folder of pictures.

    >>> pretraining_recipe("photos/", overrides=["training.epochs=50"]).name
    'small-folder'

    Args:
        data: pictures in place of the recipe's, whose labelled ones are no longer judged by then.
        overrides: as `--set` takes them; they come last and hold.

    Raises:
        UserError: no such recipe or key, or a value that can't be.
    """
    if os.path.isdir(expanded(recipe)) and recipe not in shipped_recipes():  # cifar10 is the recipe, cifar10/ a folder
        if data is not None:
            raise UserError(f"{recipe} is a folder of pictures already; leave --data out, or name a recipe")
        data, recipe = recipe, FOLDER
    replaced: list[str] = []
    if data is not None:
        replaced = [f"data.train={json.dumps(data)}", "data.val=null", "data.bank=null"]
        replaced += [] if is_stream(data) else ["data.stream_pictures=null"]
    return load_recipe(recipe, [*replaced, *overrides])


def keys_set(overrides: Sequence[str]) -> list[str]:
    """Keys that were given a value by `--set` or an option that means one.

    >>> keys_set(["training.epochs=50", "crops.0.scale=[0.3, 1.0]"])
    ['training.epochs', 'crops.0.scale']

    Raises:
        UserError: of a value that only a plan notes.
    """
    found = [assignment.partition("=")[0].strip() for assignment in overrides]
    if NOTED in found:
        raise UserError(f"--set {NOTED}: is noted where a run was planned to a time; type --minutes N, which plans one")
    return found


def linear_recipe(
    model: str | Path | None = None, name: str | None = None, overrides: Sequence[str] = ()
) -> LinearRecipe:
    """What `swav linear-eval` means: the recipe named, else the usual one for the model.

    >>> linear_recipe("runs/quickstart").name
    'linear-small'

    Args:
        model: what `load_model` takes; None: the newest run that was pretrained.
        name: of a shipped recipe, or a file; None: by the size of the pictures that the model learnt from.
        overrides: as `--set` takes them; they come last and hold.

    Raises:
        UserError: no such recipe, run or key, or a value that can't be.
    """
    return _labelled_recipe(LinearRecipe, LINEAR, model, name, overrides)


def finetune_recipe(
    model: str | Path | None = None, name: str | None = None, overrides: Sequence[str] = ()
) -> FinetuneRecipe:
    """What `swav finetune` means; see `linear_recipe`."""
    return _labelled_recipe(FinetuneRecipe, FINETUNE, model, name, overrides)


def _labelled_recipe(
    schema: type[Labelled], usual: tuple[str, str], model: str | Path | None, name: str | None, overrides: Sequence[str]
) -> Labelled:
    of_model = [] if model is None else [f"model={json.dumps(str(model))}"]
    return load_as(schema, name or _usual(model, *usual), [*of_model, *overrides])


def _usual(model: str | Path | None, small: str, large: str) -> str:
    """By the size of the pictures that the model's run has; a model of no run is taken to be ImageNet's."""
    from swav_cli.run.newest import newest_run
    from swav_cli.run.pictures import pretraining_of

    source = model or newest_run(pretrained=True)
    recipe = pretraining_of(source) if source else None
    return small if recipe is not None and max(crop.size for crop in recipe.crops) <= SMALL else large

"""The run that a model belongs to, and the labelled pictures that its recipe names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from swav_cli.data.paths import expanded
from swav_cli.data.pictures import Pictures
from swav_cli.data.shards.names import is_stream
from swav_cli.data.sources import open_pictures
from swav_cli.errors import Told, UserError, silent
from swav_cli.recipe.file import AnyRecipe, read_recipe
from swav_cli.recipe.schema import Recipe
from swav_cli.run.folder import RunFolder


def run_of(model: str | Path) -> RunFolder | None:
    """The run that a folder, or a file inside it, is of; None where it is of none."""
    path = expanded(model)
    if not os.path.exists(path):  # unlike the path's own method, of a name of any length
        return None
    folders = [path] if path.is_dir() else [path.parent, path.parent.parent]
    return next((RunFolder(each) for each in folders if RunFolder(each).recipe.exists()), None)


def pretraining_of(model: str | Path) -> Recipe | None:
    """The recipe by which a model was pretrained; of a classifier's run, that of the model it was trained on."""
    seen: set[Path] = set()
    while (run := run_of(model)) is not None and run.path.resolve() not in seen:
        seen.add(run.path.resolve())
        recipe = read_recipe(run.recipe)
        if isinstance(recipe, Recipe):
            return recipe
        if recipe.model is None:
            return None
        model = recipe.model
    return None


def recipe_of(model: str | Path) -> AnyRecipe | None:
    run = run_of(model)
    return read_recipe(run.recipe) if run is not None else None


def bank_of(recipe: Recipe, progress: Told = silent) -> Pictures:
    """The labelled pictures that a pretraining recipe learns classes from: those named for it, else its own."""
    data = recipe.data
    if data.bank:
        return open_pictures(data.bank, channels=data.channels, progress=progress)
    return training_pictures(recipe, progress)


def training_pictures(recipe: Recipe, progress: Told = silent) -> Pictures:
    """
    Raises:
        UserError: they are not there, or were a stream, whose command a run's file that somebody sent must not start.
    """
    data = recipe.data
    if is_stream(data.train):
        raise UserError(f"{data.train}: a stream is read in training alone; name pictures on the disk with --data PATH")
    return open_pictures(
        data.train, "train", channels=data.channels, limit=data.limit, seed=recipe.training.seed, progress=progress
    )


def named_by(recipe: Recipe, model: str | Path, part: str, progress: Told = silent) -> Pictures:
    """`train` or `val` of the labelled pictures of a model's run.

    Raises:
        UserError: it names none, or they are not there.
    """
    if part == "val" and recipe.data.val is None:
        raise UserError(f"{model}: its run names no labelled pictures to judge by; name some")
    with of_the_run(model):
        return (
            bank_of(recipe, progress)
            if part == "train"
            else open_pictures(str(recipe.data.val), "val", channels=recipe.data.channels, progress=progress)
        )


@contextmanager
def of_the_run(model: str | Path) -> Iterator[None]:
    """Around opening pictures that nobody named now: an error tells that a run's recipe did.

    Raises:
        UserError: they are not there.
    """
    try:
        yield
    except UserError as error:
        told = str(error).startswith("the pictures of ")  # of the run that it was trained on
        raise error if told else UserError(f"the pictures of {model}'s run: {error}") from None

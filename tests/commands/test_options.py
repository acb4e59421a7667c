"""One name of an option means one thing, whatever the command."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from inspect import signature
from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest
import typer
from typer.models import OptionInfo

from swav_cli.app import app
from swav_cli.commands.options import overrides, training_values
from swav_cli.recipe.classifier_schema import FinetuneRecipe, LinearRecipe
from swav_cli.recipe.file import load_as, load_recipe
from swav_cli.recipe.usual import FINETUNE, FOLDER, LINEAR

# What of an option is not the same in all commands that have it, and why.
APART = {
    ("--batch-size", "help"): "of a step of training, of which the codes are; or of what is computed at once",
    ("--data", "help"): "without labels, with labels to learn from, with labels to judge by",
    ("--format", "default"): "a table of clusters is CSV; what a file's name does not tell has no other",
    ("--format", "help"): "of answers, of a model",
    ("--json", "help"): "predict has formats, of which this is one",
    ("--layer", "help"): "a graph puts out one of four, an extraction any",
    ("--out", "help"): "a run's folder, or a file of features, of answers or of a model",
    ("--minutes", "default"): "a run is planned to a time only where that is asked for; checks and benches end in some",
    ("--minutes", "help"): "of a run, or of work before one",
    ("--minutes", "type"): "none, of a run",
    ("--out", "type"): "of extract as it is typed: a slash at its end asks for a folder",
    ("--overwrite", "help"): "begin work again, or replace a page that is not swav's own",
    ("--precision", "default"): "left out, training takes what the recipe says",
    ("--resume", "help"): "what else is done: a run begins in another folder, features in the same file",
    ("--show", "help"): "pictures with answers, or those of groups, or those near one picture",
    ("--sort-into", "help"): "a folder a class or cluster, or a group",
}


def functions(group: typer.Typer = app) -> Iterator[Any]:
    """Those that Typer calls, of each command and each group."""
    yield from (command.callback for command in group.registered_commands)
    if group.registered_callback:
        yield group.registered_callback.callback
    for inner in group.registered_groups:
        yield from functions(inner.typer_instance or app)


def declared() -> Iterator[tuple[str, dict[str, object]]]:
    """Each option of each command, by its flag."""
    for function in functions():
        hints = get_type_hints(function, include_extras=True)
        for name, given in signature(function).parameters.items():
            for option in getattr(hints[name], "__metadata__", ()):
                if isinstance(option, OptionInfo):
                    # Typer has the first flag where a default stands, unless that is in an annotation.
                    flags = [flag for flag in (option.default, *(option.param_decls or ())) if isinstance(flag, str)]
                    flags = flags or [f"--{name.replace('_', '-')}"]
                    kinds = set(get_args(hints[name].__origin__) or [hints[name].__origin__]) - {NoneType}
                    kind = (*kinds, option.min, option.max, *flags)
                    yield flags[0], {"type": kind, "default": given.default, "help": option.help}


def test_an_option_means_the_same_in_every_command() -> None:
    found: defaultdict[tuple[str, str], set[object]] = defaultdict(set)
    for flag, declaration in declared():
        for part, value in declaration.items():
            found[flag, part].add(value)
    assert {key for key, values in found.items() if len(values) > 1} == set(APART)
    assert len({flag for flag, _ in found}) > 30


@pytest.mark.parametrize("words", [("linear-eval", *LINEAR), ("finetune", *FINETUNE), ("pretrain", FOLDER)])
def test_usual_recipes_are_shipped_and_of_their_command(words: tuple[str, ...]) -> None:
    command, *names = words
    for name in names:
        if command == "pretrain":
            load_recipe(name)
        else:
            load_as(LinearRecipe if command == "linear-eval" else FinetuneRecipe, name)


def test_options_are_read_as_set_is_and_what_set_says_holds() -> None:
    values = training_values(3, 64, "float32", 0, 7)
    recipe = load_recipe("quickstart", overrides({**values, "data.train": "a: b #c"}, ["training.epochs=5"]))
    training = recipe.training
    assert (training.epochs, training.batch_size, training.precision, training.workers, training.seed) == (
        5, 64, "float32", 0, 7,
    )  # fmt: skip
    assert recipe.data.train == "a: b #c"
    assert overrides(training_values(None, None, None, None, None), None) == []

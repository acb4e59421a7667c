"""`swav recipes` and `swav recipes show`."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from swav_cli.completions import recipe_names

recipes = typer.Typer(help="List the recipes that come with swav, or show one.", invoke_without_command=True)


@recipes.callback(invoke_without_command=True)
def list_recipes(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the recipes that come with swav.

    swav recipes
    swav recipes show in1k-200e
    """
    if context.invoked_subcommand is not None:
        return
    from swav_cli.recipe.file import read_recipe, shipped_recipes
    from swav_cli.report.tables import recipe_rows, recipe_table

    rows = recipe_rows([read_recipe(path) for path in shipped_recipes().values()])
    # Flushed, here and below, so that a reader that went away (| head) is noticed here and not at the very end.
    print(json.dumps(rows) if as_json else recipe_table(rows), flush=True)
    if not as_json:
        print(
            "\nmore of one: swav recipes show NAME    train it: swav pretrain NAME, or\n"
            "linear-… and finetune-…: swav linear-eval --recipe NAME, swav finetune --recipe NAME",
            file=sys.stderr,
        )


@recipes.command()
def show(
    name: Annotated[str, typer.Argument(help="A recipe's name or file.", metavar="NAME", autocompletion=recipe_names)],
) -> None:
    """Print a recipe's file, with its comments.

    swav recipes show quickstart > mine.yaml
    """
    from swav_cli.recipe.file import find_recipe, read_recipe

    path = find_recipe(name)
    read_recipe(path)  # a file that is no recipe is not shown as one
    print(path.read_text(encoding="utf-8"), end="", flush=True)

"""`swav recipes` and `swav recipes show`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

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
    from swav_cli.core.recipe_file import load_recipe, shipped_recipes
    from swav_cli.report.tables import recipe_rows, recipe_table

    rows = recipe_rows([load_recipe(path) for path in shipped_recipes().values()])
    print(json.dumps(rows) if as_json else recipe_table(rows))


@recipes.command()
def show(
    name: Annotated[str, typer.Argument(help="A recipe's name or file.")],
) -> None:
    """Print a recipe's file, with its comments.

    swav recipes show quickstart > mine.yaml
    """
    from swav_cli.core.recipe_file import find_recipe

    print(find_recipe(name).read_text(encoding="utf-8"), end="")

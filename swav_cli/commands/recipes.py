"""`swav recipes` and `swav recipes show`."""

from __future__ import annotations

from typing import Annotated

import typer

from swav_cli.commands import options
from swav_cli.commands.output import print_json, print_result, say
from swav_cli.completions import recipe_names

recipes = typer.Typer(help="List the recipes that come with swav, or show one.", invoke_without_command=True)


@recipes.callback(invoke_without_command=True)
def list_recipes(
    context: typer.Context,
    as_json: options.AsJson = False,
) -> None:
    """List the recipes that come with swav.

    swav recipes
    swav recipes show in1k-200e
    """
    if context.invoked_subcommand is not None:
        return
    from swav_cli.tasks.recipes import list_recipes as shipped

    rows = shipped()
    if as_json:
        print_json(rows)
        return
    from swav_cli.report.tables import recipe_table

    print_result(recipe_table(rows))
    say(
        "\nmore of one: swav recipes show NAME    train it: swav pretrain NAME, or\n"
        "linear-… and finetune-…: swav linear-eval --recipe NAME, swav finetune --recipe NAME"
    )


@recipes.command()
def show(
    name: Annotated[str, typer.Argument(help="A recipe's name or file.", metavar="NAME", autocompletion=recipe_names)],
) -> None:
    """Print a recipe's file, with its comments.

    swav recipes show quickstart > mine.yaml
    """
    from swav_cli.tasks.recipes import recipe_text

    print(recipe_text(name), end="", flush=True)

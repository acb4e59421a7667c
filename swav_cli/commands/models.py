"""`swav models` and `swav models show`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from swav_cli.commands import options
from swav_cli.commands.output import print_json, print_result, say


class _ListUnlessNamed(TyperGroup):
    """`swav models PATTERN` is short for `swav models list PATTERN`.

    The context is of click or of typer's own copy of it, by typer's version.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "-h", "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


models = typer.Typer(
    cls=_ListUnlessNamed,
    help="List the published models, or show all of one.\n\nswav models\nswav models '*w2*'\n"
    "swav models show swav-800e\nswav models show checkpoint.pth",
)


@models.command("list")
def list_models(
    pattern: Annotated[str, typer.Argument(help="Only names that hold this; * and ? stand for anything.")] = "",
    as_json: options.AsJson = False,
) -> None:
    """List the published models; the word `list` may be left out.

    swav models
    swav models '*w2*'
    """
    from swav_cli.tasks.models import published_models

    found = published_models(pattern)
    if as_json:
        print_json(found)
        return
    from swav_cli.report.models import models_table

    print_result(models_table(found))
    say("\nall of one: swav models show NAME    use it: swav predict --model NAME PICTURES")


@models.command()
def show(
    model: Annotated[str, options.model_argument()],
    linear: options.Linear = None,
    as_json: options.AsJson = False,
) -> None:
    """Show all of one model: a published one by name, or what is in a file, of whatever tool.

    swav models show swav-800e
    swav models show runs/quickstart
    swav models show checkpoint.pth
    """
    from swav_cli.tasks.models import describe_model

    facts = describe_model(model, say, linear)
    if as_json:
        print_json(facts)
        return
    from swav_cli.report.models import facts_text

    print_result(facts_text(facts))

"""`swav models` and `swav models show`."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from swav_cli.commands.classifier_options import Linear


class _ListUnlessNamed(TyperGroup):
    """`swav models PATTERN` is short for `swav models list PATTERN`.

    The context is of click or of typer's own copy of it, by typer's version.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "-h", "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def model_names(incomplete: str) -> list[str]:
    """Names of published models that begin so, for a shell to offer."""
    from swav_cli.zoo.catalogue import all_names

    return [name for name in all_names() if name.startswith(incomplete)]


models = typer.Typer(
    cls=_ListUnlessNamed,
    help="List the published models, or show all of one.\n\nswav models\nswav models '*w2*'\n"
    "swav models show swav-800e\nswav models show checkpoint.pth",
)


@models.command("list")
def list_models(
    pattern: Annotated[str, typer.Argument(help="Only names that hold this; * and ? stand for anything.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the published models; the word `list` may be left out.

    swav models
    swav models '*w2*'
    """
    from swav_cli.errors import UserError, nearest
    from swav_cli.zoo.catalogue import all_names, matching

    found = matching(pattern)
    if not found:
        close = nearest(pattern.strip("*"), all_names())
        raise UserError(f"no published model matches '{pattern}'.{close} All of them: swav models")
    if as_json:
        print(json.dumps([entry.facts() for entry in found]), flush=True)
        return
    from swav_cli.report.models import models_table

    print(models_table([entry.facts() for entry in found]), flush=True)
    print("\nall of one: swav models show NAME    use it: swav predict --model NAME PICTURES", file=sys.stderr)


@models.command()
def show(
    model: Annotated[
        str,
        typer.Argument(help="A published model's name, a file or a run.", metavar="MODEL", autocompletion=model_names),
    ],
    linear: Linear = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show all of one model: a published one by name, or what is in a file, of whatever tool.

    swav models show swav-800e
    swav models show runs/quickstart
    swav models show checkpoint.pth
    """
    from swav_cli.report.models import facts_text
    from swav_cli.tasks.models import describe_model

    facts = describe_model(model, lambda text: print(text, file=sys.stderr), linear)
    print(json.dumps(facts) if as_json else facts_text(facts), flush=True)

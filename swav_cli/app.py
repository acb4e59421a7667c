"""The command line: joins the commands, and turns our errors into one line and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from swav_cli.commands.export import export
from swav_cli.commands.extract import extract
from swav_cli.commands.models import models
from swav_cli.commands.predict import predict
from swav_cli.commands.pretrain import pretrain
from swav_cli.commands.recipes import recipes
from swav_cli.errors import Interrupted, UserError

app = typer.Typer(
    name="swav",
    help="Self-supervised image features by swapped cluster assignments (SwAV, arXiv 2006.09882).",
    epilog="First steps: swav pretrain quickstart",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(pretrain)
app.command()(export)
app.command()(extract)
app.command()(predict)
app.add_typer(recipes, name="recipes")
app.add_typer(models, name="models")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"swav {version('swav-cli')}")
        raise typer.Exit


@app.callback()
def swav(
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where in the code an error arose.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options of all commands come before the command: swav --traceback pretrain quickstart."""


def main() -> None:
    """What `swav` and `python -m swav_cli` run."""
    # torch's threads wait for each other by spinning, and where other programs run as well they spin away the time of
    # the one that they wait for: 1.7 times slower on two cores with two busy programs. Let them sleep after a while.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "100000")
    try:
        app()
    except UserError as error:
        _leave(str(error), error.exit_code, error)
    except Interrupted as stop:
        _leave(f"{stop}. Go on with the same command", stop.exit_code, stop)
    except KeyboardInterrupt as stop:
        _leave("stopped", 130, stop)


def _leave(message: str, code: int, error: BaseException) -> None:
    if "--traceback" in sys.argv:
        raise error
    print(f"swav: {message}", file=sys.stderr)
    sys.exit(code)

"""The command line: joins the commands, and turns our errors into one line and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer

from swav_cli.commands.bench import bench
from swav_cli.commands.clusters import clusters
from swav_cli.commands.doctor import doctor
from swav_cli.commands.eval import evaluate
from swav_cli.commands.export import export
from swav_cli.commands.extract import extract
from swav_cli.commands.finetune import finetune
from swav_cli.commands.index import index
from swav_cli.commands.linear_eval import linear_eval
from swav_cli.commands.models import models
from swav_cli.commands.predict import predict
from swav_cli.commands.pretrain import pretrain
from swav_cli.commands.recipes import recipes
from swav_cli.commands.report import report
from swav_cli.commands.runs import runs
from swav_cli.commands.track import track
from swav_cli.commands.watch import watch
from swav_cli.errors import Interrupted, MemoryFull, UserError, is_memory_full
from swav_cli.parallel.place import adopt_place, check_environment
from swav_cli.parallel.stopping import Terminated, clear_away_when_ended
from swav_cli.printable import printable_lines, stop_writing, write_any_character

UNREAD = 128 + 13  # the exit code of what SIGPIPE ends
TQDM_NUMBERS = (
    "MININTERVAL", "MAXINTERVAL", "MINITERS", "SMOOTHING", "DELAY", "NCOLS", "NROWS", "POSITION", "INITIAL",
    "UNIT_DIVISOR", "TOTAL",
)  # fmt: skip

app = typer.Typer(
    name="swav",
    help="Self-supervised image features by swapped cluster assignments (SwAV, arXiv 2006.09882).",
    epilog="First steps: swav pretrain quickstart",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(pretrain)
app.command("linear-eval")(linear_eval)
app.command("eval")(evaluate)
app.command()(finetune)
app.command()(export)
app.command()(extract)
app.command()(predict)
app.command()(clusters)
app.command()(report)
app.command()(index)
app.command()(watch)
app.command()(runs)
app.command()(track)
app.command()(doctor)
app.command()(bench)
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
    _prepare()
    try:
        _run()
    except UserError as error:
        _leave("" if _is_told(error.told) else str(error), error.exit_code, error)
    except Interrupted as stop:
        _leave("" if _is_told(stop.told) else f"{stop}. Go on with the same command", stop.exit_code, stop)
    except KeyboardInterrupt as stop:
        _leave("stopped", 130, stop)
    except RuntimeError as error:
        if not is_memory_full(error):
            raise
        _leave(str(MemoryFull()), MemoryFull.exit_code, error)
    except BrokenPipeError:  # `| head` has seen enough: as other tools end by SIGPIPE, without a word
        for stream in (sys.stdout, sys.stderr):
            stop_writing(stream)
        sys.exit(UNREAD)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            _leave(f"{error.filename}: is longer than any name of a file; give another", 2, error)
        if error.errno != errno.ENOSPC:
            raise
        stop_writing(sys.stdout)
        _leave(f"the output can't be written ({error.strerror})", 2, error)
    except Terminated as stop:
        _leave(str(stop), stop.exit_code, stop)


def _prepare() -> None:
    """The environment and the streams as all commands take them."""
    # torch's threads wait for each other by spinning, and where other programs run as well they spin away the time of
    # the one that they wait for: 1.7 times slower on two cores with two busy programs. Let them sleep after a while.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "100000")
    # torch's own account of lost connections, frames and all, would stand around our line about them.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    drop_nonsense_for_tqdm()
    adopt_place()
    clear_away_when_ended()
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        write_any_character(stream)


def _run() -> None:
    """The command, to where all that it printed has been taken.

    Raises:
        SystemExit: as Typer ends every command, and each error of its own.
        BrokenPipeError: nobody reads any more, which Typer has made an exit code of.
    """
    check_environment()
    try:
        app()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        sys.stdout.flush()
        raise


def drop_nonsense_for_tqdm() -> None:
    """tqdm reads its variables where it is imported, by torch too, and a number that is none ends the import."""
    for name in TQDM_NUMBERS:
        try:
            float(os.environ.get(f"TQDM_{name}", "0"))
        except ValueError:
            del os.environ[f"TQDM_{name}"]


def _is_told(told: bool | None) -> bool:
    """Of several processes, what all meet alike is for the first one to say."""
    return os.environ.get("RANK", "0") != "0" if told is None else told


def _open_closed_streams() -> None:
    """Where a caller has closed one of the three (`>&-`), Python has None in its place, and printing would fail."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  (for as long as the process lives)


def _leave(message: str, code: int, error: BaseException) -> None:
    if "--traceback" in sys.argv:
        raise error
    if message:
        print(f"swav: {printable_lines(message)}", file=sys.stderr)
    sys.exit(code)

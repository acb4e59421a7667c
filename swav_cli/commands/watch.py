"""`swav watch`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from swav_cli.commands import options
from swav_cli.commands.output import print_json


def watch(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="A run's folder.", show_default="the last changed in runs/")
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Show it once; so it is where standard output is no terminal.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Watch a run while it trains: its curves, how it is doing, how long it takes.

    swav watch
    swav watch runs/quickstart
    swav watch runs/quickstart --json | jq .seconds_left

    From another terminal, or on another machine that sees the folder: only the
    run's files are read, and the run does not notice. It ends with the run;
    Ctrl-C ends it before that. Of a run that was stopped it tells how to go on.
    """
    from swav_cli.tasks.watch import find_run
    from swav_cli.tasks.watch import watch as look

    path = find_run(run)
    if as_json:
        print_json(look(path, lambda state, lines: None, once=True).as_json())
        return
    from swav_cli.report.watch import Watched

    with Watched(live=sys.stdout.isatty() and not once) as screen:
        look(path, screen.show, once=not screen.live)

"""`swav runs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from swav_cli.commands import options
from swav_cli.commands.output import print_json, print_result, say


def runs(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where they are looked for, in folders within it too.")
    ] = Path("runs"),
    as_json: options.AsJson = False,
) -> None:
    """List all runs, the last changed first: how far each is, and how good.

    swav runs
    swav runs /data/experiments
    swav runs --json | jq '.[] | select(.state == "running") | .run'
    """
    from swav_cli.tasks.watch import list_runs

    found = list_runs(folder)
    if as_json:
        print_json(found)
        return
    if not found:
        say(f"there is no run below {folder}; train one with: swav pretrain quickstart")
        return
    from swav_cli.report.runs import runs_table

    print_result(runs_table(found, folder))
    say("\nmore of one: swav watch RUN")

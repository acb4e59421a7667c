"""`swav track`."""

from __future__ import annotations

from typing import Annotated

import typer

from swav_cli import completions
from swav_cli.commands import options
from swav_cli.commands.output import print_json, say


def track(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="A run's folder.", show_default="the last changed in runs/")
    ] = None,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="NAME,…",
            help="tensorboard, wandb, trackio, mlflow, swanlab.",
            autocompletion=completions.tracker_names,
        ),
    ] = "tensorboard",
    as_json: options.AsJson = False,
) -> None:
    """Tell trackers of a run from its files: curves, recipe, results, pictures.

    swav track runs/quickstart --to tensorboard
    swav track runs/quickstart --to wandb,trackio

    For runs that were trained without a tracker, or without a network. A run in
    progress is followed to its end. The same command again tells what is new.
    """
    from swav_cli.errors import UserError
    from swav_cli.report.trackers.names import tracker_names
    from swav_cli.tasks.watch import find_run

    names = tracker_names(to, "--to")
    if not names:
        raise UserError("--to none: name a tracker, such as tensorboard")
    path = find_run(run)
    from swav_cli.tasks.track import track as tell

    found = tell(path, names, notice=say)
    if as_json:
        print_json(found)

"""Runs seen from outside: one of them live, or a list of all; nothing of them is touched, and torch not imported."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from swav_cli.data.paths import expanded
from swav_cli.errors import UserError, nearest
from swav_cli.run.folder import RunFolder
from swav_cli.run.state import Line, RunFollower, RunState, glance, is_run, runs_below, size_on_disk

RUNS = Path("runs")
BETWEEN = 1.0  # seconds between two looks


def find_run(named: str | None) -> Path:
    """The folder of a run: the one that is named, or that holds the file that is, or the last changed below `runs/`.

    Raises:
        UserError: there is none.
    """
    if named is None:
        found = runs_below(RUNS) if RUNS.is_dir() else []
        if not found:
            raise UserError("there is no run in runs/; name one, or train one with: swav pretrain quickstart")
        return found[0]
    path = expanded(named)
    folders = [path] if path.is_dir() else [path.parent, path.parent.parent] if os.path.lexists(path) else []
    for folder in folders:
        if is_run(os.listdir(folder)) or RunFolder(folder).recipe.exists():
            return folder
    if folders:
        raise UserError(f"{named}: holds no run; see those below a folder with: swav runs FOLDER")
    known = [str(each) for each in runs_below(RUNS)] if RUNS.is_dir() else []
    inside = str(RUNS / named)
    hint = f" Did you mean '{inside}'?" if inside in known else nearest(str(path), known)
    raise UserError(f"{named}: no run there.{hint} See them with: swav runs")


def watch(run: Path, show: Callable[[RunState, list[Line]], None], once: bool = False) -> RunState:
    """Show a run again and again until it has ended; how it was at the last look.

    >>> watch(find_run(None), lambda state, lines: print(state.state, state.recipe)).step
    stopped quickstart
    0

    Args:
        show: called after each look, with the lines of its log.
    """
    follower = RunFollower(run)
    while True:
        state = follower.look()
        show(state, follower.lines)
        if once or not state.is_alive:
            return state
        time.sleep(BETWEEN)


def list_runs(folder: str | Path = RUNS) -> list[dict[str, Any]]:
    """All runs below a folder, last changed first; what `swav runs --json` prints.

    >>> [(run["run"], run["state"]) for run in list_runs()]
    [('runs/quickstart', 'stopped')]

    Raises:
        UserError: there is no such folder.
    """
    place = expanded(folder)
    found = [] if place == RUNS and not place.exists() else runs_below(place)
    return [{**glance(path).as_json(), "bytes": size_on_disk(path)} for path in found]

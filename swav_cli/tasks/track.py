"""Trackers told of a run from its files: a finished one, or one in progress, which is followed to its end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from swav_cli.errors import Notice, UserError, silent
from swav_cli.files import held
from swav_cli.recipe.file import read_recipe
from swav_cli.report.trackers.names import check_installed
from swav_cli.report.trackers.tracking import Trackers, knows_all, remembered
from swav_cli.run.folder import RunFolder
from swav_cli.run.metrics import MetricsReader
from swav_cli.run.results import finished_results
from swav_cli.run.state import glance
from swav_cli.writable import check_place

BETWEEN = 2.0  # seconds between two looks at a run in progress


def track(run: str | Path, to: Sequence[str], *, notice: Notice = silent) -> dict[str, Any]:
    """Tell trackers what a run's files hold: curves, recipe, results, pictures. What they know is not told twice.

    >>> sorted(track("runs/quickstart", ["tensorboard"]))
    ['run', 'state', 'steps_told', 'trackers']

    Args:
        to: names of trackers.

    Raises:
        UserError: no such run or tracker, one that the run itself tells at the moment, or one that fails.
    """
    folder = RunFolder(Path(run))
    for name in to:
        check_installed(name, "to")
    state = glance(folder.path)
    if state.state == "broken":
        raise UserError(str(state.why))
    both = sorted({*to} & {*remembered(folder)}) if state.is_alive else []
    if both:
        raise UserError(f"{folder.path}: the run itself tells {' and '.join(both)}; wait for its end, or name others")
    check_place(folder.tracking, "RUN", is_folder=True)
    known = [name for name in to if state.state == "finished" and knows_all(folder, name)]
    for name in known:
        notice(f"{name} knows all of {folder.path}")
    with ExitStack() as locks:
        rest = [name for name in to if name not in known]
        for name in rest:
            _hold(folder, name, locks)
        trackers = Trackers(rest, folder, read_recipe(folder.recipe), notice)
        for name, look in trackers.looks.items():
            notice(f"{name}: {look}")
        try:
            _follow(folder, trackers)
        finally:
            steps = trackers.finish()
    left = [name for name in rest if name not in steps]
    if left:
        raise UserError(f"{' and '.join(left)}: not told to the end; the same command tells the rest")
    return {"run": str(folder.path), "state": glance(folder.path).state, "trackers": list(to), "steps_told": steps}


def _hold(folder: RunFolder, name: str, locks: ExitStack) -> None:
    def busy() -> None:
        raise UserError(f"{folder.path}: another process tells {name} of it; wait for it")

    try:
        folder.tracking.mkdir(exist_ok=True)
        locks.enter_context(held(folder.tracking / f".{name}.lock", busy))
    except OSError as error:
        raise UserError(f"{folder.tracking}: can't be written ({error.strerror})") from None


def _follow(folder: RunFolder, trackers: Trackers) -> None:
    reader = MetricsReader(folder.metrics)
    while True:
        is_alive = glance(folder.path).is_alive  # asked first, so that nothing which comes meanwhile is missed
        lines, _ = reader.new_lines()
        for line in lines:
            trackers.line(line)
        if not is_alive or not trackers.looks:
            break
        time.sleep(BETWEEN)
    results = finished_results(folder)
    if results is not None:
        trackers.results(results)

"""The table of all runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from swav_cli.printable import printable
from swav_cli.report.tables import render, terminal_width
from swav_cli.report.words import age, size

COLUMNS = ("run", "state", "recipe", "epochs", "k-NN", "top-1", "age", "size", "verdict")
ENDED = ("broken", "diverged", "failed")  # of which there is a reason to tell
NARROW = 100  # letters of a terminal


def runs_table(found: Sequence[dict[str, Any]], folder: Path) -> str:
    """A row a run, and below them why some can't be told of. Where nobody has judged a run, nothing stands.

    In a narrow terminal a recipe is named where the run's name does not tell it.
    """
    narrow = terminal_width() < NARROW
    rows = [_row(run, folder, narrow) for run in found]
    table = Table(box=None, pad_edge=False)
    shown = [at for at, name in enumerate(COLUMNS) if name != "recipe" or any(row[at] for row in rows)]
    for name in (COLUMNS[at] for at in shown):
        wraps = name in ("run", "state", "recipe")
        right = wraps or name == "verdict"
        table.add_column(name, justify="left" if right else "right", no_wrap=not wraps, overflow="fold")
    for row in rows:
        table.add_row(*(row[at] for at in shown))
    whys = [f"{printable(run['run'])}: {printable(_in_short(run))}" for run in found if run["state"] in ENDED]
    return "\n".join([render(table), *(["", *whys] if whys else [])])


def _row(run: dict[str, Any], folder: Path, narrow: bool) -> list[str]:
    best = run["best"]
    name, recipe = os.path.relpath(run["run"], folder), run["recipe"] or ""
    top1 = max((best[key] for key in ("linear", "finetune") if key in best), default=None)
    return [
        printable(name), _state(run), "" if narrow and recipe in name else printable(recipe),
        f"{run['epochs_done']}/{run['epochs']}" if run["epochs"] and run["epochs_done"] else "",
        _per_cent(best.get("knn")), _per_cent(top1), age(run["changed"]) if run["changed"] is not None else "",
        size(run["bytes"]), run["verdict"] or "",
    ]  # fmt: skip


def _state(run: dict[str, Any]) -> str:
    if run["state"] == "running" and run["steps"]:
        return f"running {run['step'] / run['steps']:.0%}"
    return f"stopped at {run['step']:,}" if run["state"] == "stopped" and run["step"] else str(run["state"])


def _in_short(run: dict[str, Any]) -> str:
    """The first sentence of why it ended."""
    why = str(run["why"]).removeprefix(f"{run['run']}/")
    return why.partition("\n")[0].partition(". ")[0]


def _per_cent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"

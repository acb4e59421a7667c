"""What is known of a run: its `results.json`, which several commands write to."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from swav_cli.errors import UserError
from swav_cli.files import held, write_json
from swav_cli.run.folder import RunFolder


def finished_results(folder: RunFolder) -> dict[str, Any] | None:
    """The results of a run that has come to its end, else None: `swav eval` writes there before that too."""
    results = read_results(folder)
    return results if "recipe" in results else None


def read_results(folder: RunFolder) -> dict[str, Any]:
    """What is known of a run so far."""
    try:
        return dict(json.loads(folder.results.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def add_results(folder: RunFolder, key: str, found: dict[str, Any], notice: Callable[[str], None]) -> None:
    """Join what another command found to a run's results; of two that end at once, both are kept.

    Where they can't be written, as in a run of somebody else's, a notice says so: the numbers are shown all the same.
    """
    try:
        change_results(folder, lambda known: {**known, key: found})
    except UserError as error:
        notice(f"{error}; these numbers are only shown")


def change_results(folder: RunFolder, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Read a run's results, change and write them, with nobody else between."""
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        with held(folder.path):
            write_json(folder.results, change(read_results(folder)))
    except OSError as error:
        raise UserError(f"{folder.results}: can't be written ({error.strerror})") from None

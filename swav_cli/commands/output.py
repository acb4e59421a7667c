"""What a command prints: its result on standard output, all else on standard error; the first of several processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from swav_cli import progress
from swav_cli.files import json_ready
from swav_cli.parallel.place import is_first


def say(text: str) -> None:
    """A line on standard error, of the first process."""
    if is_first():
        progress.say(text)


def print_result(text: str) -> None:
    """Flushed, so that a reader that went away (| head) is noticed here and not at the very end."""
    if is_first():
        print(text, flush=True)


def print_json(result: Any) -> None:
    print_result(json.dumps(json_ready(result)))


def print_classifier(results: dict[str, Any], plot: Path | None, as_json: bool) -> None:
    """What came of a classifier, where it is wanted as JSON or as a picture."""
    if as_json:
        print_json(results)
    if plot is not None and is_first():
        from swav_cli.tasks.classifier import plot_confusion

        plot_confusion(Path(results["run"]), plot)


def print_plan(facts: dict[str, Any], as_json: bool) -> None:
    """What `--dry-run` found."""
    from swav_cli.report.plan import plan_text

    print_json(facts) if as_json else print_result(plan_text(facts))

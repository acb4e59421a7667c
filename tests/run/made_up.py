"""Folders as runs leave them, whole or cut off, without training."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from swav_cli.recipe.file import dump_recipe
from swav_cli.run.folder import RunFolder
from tests.conftest import tiny_recipe

PER_EPOCH = 6


def step_line(step: int, **more: Any) -> dict[str, Any]:
    return {
        "kind": "step", "epoch": (step - 1) // PER_EPOCH, "step": step, "loss": 2.4 / step,
        "loss_over_ln_k": 1 / step, "lr": 0.1, "gradient_norm": 1.0, "images_per_second": 120.0, "data_wait": 0.25,
        "seconds": 10.0 * step, **more,
    }  # fmt: skip


def epoch_line(epoch: int, **more: Any) -> dict[str, Any]:
    return {
        "kind": "epoch", "epoch": epoch, "step": PER_EPOCH * (epoch + 1), "rank": 3.0 + epoch, "used_prototypes": 9,
        "verdict": "healthy", "advice": "", **more,
    }  # fmt: skip


def log_until(step: int) -> list[dict[str, Any]]:
    """What a run has written by then; its k-NN is 40, 60 and 50 %."""
    lines: list[dict[str, Any]] = [{"kind": "start", "step": 0, "pictures": 48}]
    for number in range(1, step + 1):
        lines.append(step_line(number))
        if number % PER_EPOCH == 0:
            lines.append(epoch_line(number // PER_EPOCH - 1, knn=[40.0, 60.0, 50.0][number // PER_EPOCH - 1]))
    return lines


def text_of(lines: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def make_up(path: Path, step: int = 0, changed: float | None = None, **results: Any) -> RunFolder:
    """A run that has come to a step.

    Args:
        changed: seconds ago.
        results: what `results.json` holds.
    """
    folder = RunFolder(path)
    folder.checkpoints.mkdir(parents=True)
    folder.recipe.write_text(dump_recipe(tiny_recipe()))
    folder.lock.touch()
    if step:
        folder.metrics.write_text(text_of(log_until(step)))
        folder.last.write_bytes(bytes(5000))
    if results:
        folder.results.write_text(json.dumps(results))
    if changed is not None:
        for file in path.rglob("*"):
            os.utime(file, (time.time() - changed,) * 2)
    return folder

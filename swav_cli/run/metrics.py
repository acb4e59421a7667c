"""`metrics.jsonl`: a line a logged step and a line an epoch; always valid JSON, and no step twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from swav_cli.files import json_ready, write_text
from swav_cli.parallel import distributed


class Progress(NamedTuple):
    """What a screen shows after a step."""

    step: int
    steps: int
    epoch: int
    loss: float
    share_of_ln_k: float  # of the loss of a network that knows nothing
    pictures_per_second: float
    waiting: float  # share of the time spent waiting for pictures


class MetricsFile:
    """Appends lines; lines past `step`, from work that was lost when a run was cut off, are dropped first."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        if distributed.is_writer():
            write_text(path, "".join(line + "\n" for line in _lines_until(path, step)))

    def write_step(self, progress: Progress, lr: float, gradient_norm: float, seconds: float) -> None:
        self._write(
            {
                "kind": "step",
                "epoch": progress.epoch,
                "step": progress.step,
                "loss": progress.loss,
                "loss_over_ln_k": progress.share_of_ln_k,
                "lr": lr,
                "gradient_norm": gradient_norm,
                "images_per_second": round(progress.pictures_per_second, 1),
                "data_wait": round(progress.waiting, 4),
                "seconds": round(seconds, 2),
            }
        )

    def write_epoch(self, step: int, epoch: int, facts: dict[str, Any]) -> None:
        self._write({"kind": "epoch", "epoch": epoch, "step": step, **facts})

    def _write(self, line: dict[str, Any]) -> None:
        if distributed.is_writer():
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(json_ready(line), allow_nan=False) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; a last line that a kill cut short is left out."""
    lines = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue
    return lines


def _lines_until(path: Path, step: int) -> list[str]:
    return [json.dumps(line) for line in read_metrics(path) if line.get("step", 0) <= step]

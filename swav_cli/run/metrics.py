"""`metrics.jsonl`: a line each start, logged step and epoch; always valid JSON, and no step twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from swav_cli.files import json_ready, write_text
from swav_cli.parallel import distributed


class Step(NamedTuple):
    """A step of training that was taken."""

    number: int  # from 1
    steps: int  # how many the run has
    epoch: int  # from 0
    epochs: int  # how many the run has
    loss: float  # in nats
    start_loss: float  # of a network that knows nothing
    epoch_loss: float | None  # the mean over the epoch that ends with this step; None within one
    lr: float
    gradient_norm: float
    gradient_norms: dict[str, float]  # of the parts of the network, where they are told apart
    pictures_per_second: float
    waiting: float  # share of the time spent waiting for pictures
    seconds: float  # since the run began
    bad: dict[int, str]  # pictures that could not be read, with the reason

    @property
    def ends_epoch(self) -> bool:
        return self.epoch_loss is not None

    @property
    def share(self) -> float:
        """Of the loss of a network that knows nothing."""
        return self.loss / self.start_loss

    @property
    def epoch_share(self) -> float:
        """The same of the mean over the epoch that ends with this step."""
        assert self.epoch_loss is not None
        return self.epoch_loss / self.start_loss


class MetricsFile:
    """Appends lines; lines past `step`, from work that was lost when a run was cut off, are dropped first."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        if distributed.is_writer():
            write_text(path, "".join(line + "\n" for line in _lines_until(path, step)))

    def write_start(self, step: int, facts: dict[str, Any]) -> None:
        """Where the run begins or goes on, behind so many steps."""
        self._write({"kind": "start", "step": step, **facts})

    def write_step(self, step: Step) -> None:
        self._write(
            {
                "kind": "step",
                "epoch": step.epoch,
                "step": step.number,
                "loss": step.loss,
                "loss_over_ln_k": step.share,
                "lr": step.lr,
                "gradient_norm": step.gradient_norm,
                **{f"gradient_norm_{part}": norm for part, norm in step.gradient_norms.items()},
                "images_per_second": round(step.pictures_per_second, 1),
                "data_wait": round(step.waiting, 4),
                "seconds": round(step.seconds, 2),
            }
        )

    def write_epoch(self, step: Step, facts: dict[str, Any]) -> None:
        self._write({"kind": "epoch", "epoch": step.epoch, "step": step.number, **facts})

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

"""`metrics.jsonl`: a line each start, logged step and epoch; always valid JSON, and no step twice."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from swav_cli.errors import Diverged, UserError
from swav_cli.files import json_ready, write_text

STEP = b'{"kind": "step"'  # how a step's line begins
NEWEST = 50  # steps that are kept where others are left out
T = TypeVar("T")


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
    """Appends lines; lines past `step`, from work that was lost when a run was cut off, are dropped first.

    Args:
        writes: False keeps the file as it is, as all processes of a run but the first do.
    """

    def __init__(self, path: Path, step: int, writes: bool = True) -> None:
        self.path, self.writes = path, writes
        if writes:
            write_text(path, "".join(line + "\n" for line in _lines_until(path, step)))

    def write_start(self, step: int, facts: dict[str, Any]) -> None:
        """Where the run begins or goes on, behind so many steps."""
        self._write({"kind": "start", "step": step, **facts})

    def write_step(self, step: Step) -> dict[str, Any]:
        return self._write(
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

    def write_epoch(self, step: Step, facts: dict[str, Any]) -> dict[str, Any]:
        spent = {"seconds": round(step.seconds, 2), "images_per_second": round(step.pictures_per_second, 1)}
        return self._write({"kind": "epoch", "epoch": step.epoch, "step": step.number, **facts, **spent})

    def write_failure(self, step: int, error: Exception) -> None:
        """Why a run ended by itself; such a line is dropped when the run goes on."""
        why = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        self._write({"kind": "failed", "step": step, "diverged": isinstance(error, Diverged), "why": why})

    def _write(self, line: dict[str, Any]) -> dict[str, Any]:
        if self.writes:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(json_ready(line), allow_nan=False) + "\n")
        return line


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; a last line that a kill cut short is left out."""
    return [line for line in map(parsed, _raw_lines(path)) if line is not None]


def _raw_lines(path: Path) -> list[bytes]:
    """Of the file, as they are; none where there is no such file."""
    try:
        return path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []


def _lines_until(path: Path, step: int) -> list[str]:
    lines = read_metrics(path)
    return [json.dumps(line) for line in lines if line.get("step", 0) <= step and line.get("kind") != "failed"]


class MetricsReader:
    """Reads a metrics file that may be growing, or be begun anew: what has come since the last look.

    A last line that is not whole is left for the next look; a line that is none is passed over.

    Args:
        most_steps: of so many that come at once, and twice as many, every second one is left out, and so on.
    """

    def __init__(self, path: Path, most_steps: int | None = None) -> None:
        self.path, self.most_steps = path, most_steps
        self._file: tuple[int, int] | None = None  # which one it was
        self._read = 0  # bytes
        self._rest = b""  # of a line that is not whole

    def new_lines(self) -> tuple[list[dict[str, Any]], bool]:
        """The lines, and whether they are all there are: the file is another one than at the last look."""
        try:
            with open(self.path, "rb") as file:
                status = os.fstat(file.fileno())
                which = (status.st_dev, status.st_ino)
                anew = which != self._file or status.st_size < self._read
                if anew:
                    self._file, self._read, self._rest = which, 0, b""
                file.seek(self._read)
                fresh = file.read()
        except FileNotFoundError:
            anew, fresh = self._file is not None, b""
            self._file, self._read, self._rest = None, 0, b""
        self._read += len(fresh)
        *whole, self._rest = (self._rest + fresh).split(b"\n")
        if self.most_steps is not None:
            whole = thinned(whole, lambda line: line.startswith(STEP), self.most_steps)
        return [line for line in map(parsed, whole) if line is not None], anew


def thinned(lines: list[T], is_step: Callable[[T], bool], most: int) -> list[T]:
    """Lines of which so few are steps, evenly chosen; the newest of them, by which time is told, are all kept."""
    count = sum(map(is_step, lines))
    every, newest = -(-max(1, count - NEWEST) // max(1, most - NEWEST)), count - NEWEST
    if every == 1:
        return lines
    kept, step = [], 0
    for line in lines:
        steps = is_step(line)
        if not steps or step % every == 0 or step >= newest:
            kept.append(line)
        step += steps
    return kept


def parsed(line: bytes) -> dict[str, Any] | None:
    """A line of a metrics file; None where it is none."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "kind" in found else None


def gist(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file but for its steps, of which the last alone is there; quick, however long it is."""
    lines = _raw_lines(path)
    backwards = range(len(lines) - 1, -1, -1)
    last = next((at for at in backwards if lines[at].startswith(STEP) and parsed(lines[at])), -1)
    found = (parsed(line) for at, line in enumerate(lines) if at == last or not line.startswith(STEP))
    return [line for line in found if line is not None]

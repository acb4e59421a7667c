"""The training loop: load, step, log, save, in the order in which they happen; the same for every kind of training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple, Protocol

import torch

from swav_cli.core.clock import Clock
from swav_cli.data.lists.tables import one_line
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.loader import Batch
from swav_cli.errors import Interrupted, UserError
from swav_cli.files import write_text
from swav_cli.parallel import distributed
from swav_cli.parallel.processes import first_decides
from swav_cli.parallel.stopping import StopSignal
from swav_cli.recipe.schema import CheckpointRecipe
from swav_cli.run.checkpoint import save_checkpoint
from swav_cli.run.folder import RunFolder
from swav_cli.run.metrics import MetricsFile, Progress

EndOfEpoch = Callable[[int, float], dict[str, Any]]  # epoch and mean loss to what joins the epoch's line of metrics


class Course:
    """How far a run has come: what its checkpoints hold beside weights."""

    def __init__(self, fingerprint: str, contents: list[str], labels: str = "") -> None:
        # Digests of what is trained on.
        self.fingerprint, self.contents, self.labels = fingerprint, contents, labels
        self.step = 0
        self.epoch_losses: list[float] = []
        self.bad: dict[int, str] = {}
        self.finished_shards: set[int] = set()  # of a stream, in this epoch
        self._began, self._seconds_before = time.monotonic(), 0.0

    @property
    def seconds(self) -> float:
        """How long the run has taken, with the times before it was stopped."""
        return self._seconds_before + time.monotonic() - self._began

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "seconds": self.seconds,
            "epoch_losses": list(self.epoch_losses),
            "bad": dict(self.bad),
            "finished_shards": sorted(set().union(*distributed.objects_of_all(self.finished_shards))),
            "fingerprint": self.fingerprint,
            "contents": self.contents,
            "labels": self.labels,
            "generator": torch.get_rng_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.step, self._seconds_before, self.bad = state["step"], state["seconds"], dict(state["bad"])
        self.epoch_losses = list(state["epoch_losses"])
        self.finished_shards = set(state.get("finished_shards", ()))
        torch.set_rng_state(state["generator"])


class Pace(NamedTuple):
    """How long a run is, and how often it logs and saves."""

    steps: int
    steps_per_epoch: int
    batch_size: int  # pictures a step, over all processes and parts
    parts: int  # in which a step's batch comes
    log_every: int
    checkpoint: CheckpointRecipe
    max_bad: float  # share of unreadable pictures that ends the run
    start_loss: float  # of a network that knows nothing: ln K, or ln of the number of classes


class Trains(Protocol):
    """What the loop drives."""

    course: Course
    pictures: Pictures

    def train_step(self, parts: list[Batch]) -> tuple[float, float]:
        """One step, which it counts in `course.step`: the loss, and the norm of its gradient."""

    def lr(self, step: int) -> float:
        """The rate of a step, for the log."""

    def train_mode(self) -> None:
        """Whatever was done in between, the network trains again."""

    def state(self) -> dict[str, Any]:
        """All that a checkpoint holds."""


def run_steps(
    trainer: Trains,
    pace: Pace,
    batches: Generator[Batch, None, None],
    folder: RunFolder,
    on_step: Callable[[Progress], None],
    end_of_epoch: EndOfEpoch,
) -> float:
    """Train to the end, saving on the way; the last loss.

    Raises:
        Interrupted: a signal came; all is saved.
        Diverged: the loss is no longer finite.
        UserError: more pictures than the recipe bears can't be read.
    """
    course = trainer.course
    metrics = MetricsFile(folder.metrics, course.step)
    trainer.train_mode()
    clock = Clock()
    loss, saved_at = math.nan, time.monotonic()
    with StopSignal() as stop, closing(batches), quickest_convolutions():  # however the run ends, its workers end
        while course.step < pace.steps:
            with clock.waiting():
                parts = [next(batches) for _ in range(pace.parts)]
            loss, norm = trainer.train_step(parts)
            course.epoch_losses.append(loss)
            course.finished_shards.update(shard for part in parts for shard in part.finished)
            done = clock.tick(pace.batch_size)
            epoch, in_epoch = divmod(course.step - 1, pace.steps_per_epoch)
            ends = in_epoch + 1 == pace.steps_per_epoch
            share = loss / pace.start_loss
            progress = Progress(course.step, pace.steps, epoch, loss, share, done.rate, done.waiting)
            on_step(progress)
            if course.step % pace.log_every == 0 or course.step in (1, pace.steps):
                metrics.write_step(progress, trainer.lr(course.step - 1), norm, course.seconds)
            if ends:
                mean_loss = sum(course.epoch_losses) / len(course.epoch_losses)
                metrics.write_epoch(course.step, epoch, end_of_epoch(epoch, mean_loss))
                course.epoch_losses.clear()
                course.finished_shards.clear()
                trainer.train_mode()
                clock.restart()
            # All processes save and stop after the same step, and know of the same pictures.
            received, overdue, any_bad = distributed.largest_of_all(
                stop.received,
                time.monotonic() - saved_at > 60 * pace.checkpoint.every_minutes,
                any(part.bad for part in parts),
            )
            if any_bad:
                _note_bad(trainer, parts, folder, pace.max_bad)
            if ends or overdue or received:
                save(trainer, folder, _kept_name(pace, epoch + 1) if ends else None)
                saved_at = time.monotonic()
                clock.restart()
            if received and course.step < pace.steps:
                raise Interrupted(f"stopped at step {course.step} of {pace.steps}; all is saved", received)
    return loss


@contextmanager
def quickest_convolutions() -> Iterator[None]:
    """Within it cuDNN tries its ways for each size of crops, of which there are few; it may add up in another order."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _kept_name(pace: Pace, epochs_done: int) -> str | None:
    keep = pace.checkpoint.keep_epochs
    return f"epoch-{epochs_done:04d}.pt" if keep and epochs_done % keep == 0 else None


def save(trainer: Trains, folder: RunFolder, kept: str | None) -> None:
    """Every process brings its share; the first one writes, and what it meets, all meet."""
    state = trainer.state()
    first_decides(lambda: save_checkpoint(folder, state, kept))


def _note_bad(trainer: Trains, parts: list[Batch], folder: RunFolder, most: float) -> None:
    """Remember pictures that could not be read.

    Raises:
        UserError: they are more than the recipe bears.
    """
    bad, pictures = trainer.course.bad, trainer.pictures
    seen = {index: why for part in parts for index, why in part.bad if index not in bad}
    fresh = {index: why for of_one in distributed.objects_of_all(seen) for index, why in of_one.items()}
    if not fresh:
        return
    bad |= fresh
    names = [one_line(f"{pictures.name(index)}: {why}") for index, why in sorted(bad.items())]
    if distributed.is_writer():
        write_text(folder.bad_pictures, "\n".join(names) + "\n")
    if len(bad) > most * len(pictures):
        shown = "\n  ".join(names[:10])
        raise UserError(
            f"{len(bad)} of {len(pictures)} pictures can't be read, more than data.max_bad ({most:g}); "
            f"mend or remove them, or raise it. All seen so far are in {folder.bad_pictures}, first:\n  {shown}"
        )

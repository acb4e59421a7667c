"""What is kept of a run while it trains: its log, its checkpoints, the list of pictures that could not be read."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from swav_cli.core.classifier import ClassifierTrainer
from swav_cli.core.device import peak_memory
from swav_cli.core.environment import environment
from swav_cli.core.swav import Trainer
from swav_cli.data.lists.tables import one_line
from swav_cli.errors import Interrupted, UserError
from swav_cli.files import write_text
from swav_cli.parallel import distributed
from swav_cli.parallel.processes import first_decides
from swav_cli.parallel.stopping import StopSignal
from swav_cli.recipe.part import borne
from swav_cli.run.checkpoint import save_checkpoint
from swav_cli.run.folder import RunFolder
from swav_cli.run.metrics import MetricsFile, Step


class Keeper:
    """Logs and saves a run, step by step. Within it a signal is noted, and heard after the step that it comes in.

    Of several processes the first one writes, and all save and stop after the same step.
    """

    def __init__(self, folder: RunFolder, trainer: Trainer | ClassifierTrainer) -> None:
        self.folder, self.trainer = folder, trainer
        self._metrics = MetricsFile(folder.metrics, trainer.course.step, distributed.is_writer())
        self._signals = StopSignal()
        self._saved_at = time.monotonic()

    def __enter__(self) -> Keeper:
        self._signals.__enter__()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._signals.__exit__(kind, error, trace)
        if isinstance(error, Exception) and not isinstance(error, Interrupted):
            with suppress(OSError):  # the disk may be what failed
                self._metrics.write_failure(self.trainer.course.step, error)

    def log_start(self, facts: dict[str, Any]) -> None:
        """A line that tells when, by what and from where on the run is trained."""
        trainer = self.trainer
        surroundings = environment(trainer.device, distributed.world_size())
        began = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._metrics.write_start(trainer.course.step, {"time": began, "environment": surroundings, **facts})

    def log(self, step: Step) -> dict[str, Any] | None:
        """A line of `metrics.jsonl`, every so many steps; the line, where there is one."""
        if step.number % self.trainer.recipe.training.log_every == 0 or step.number in (1, step.steps):
            return self._metrics.write_step(step)
        return None

    def log_epoch(self, step: Step, facts: dict[str, Any]) -> dict[str, Any]:
        """A line for the epoch that has ended with a step; the line."""
        return self._metrics.write_epoch(step, {**facts, "memory": peak_memory(self.trainer.device)})

    def save_where_due(self, step: Step) -> None:
        """Save at an epoch's end, every so many minutes, and when a signal has come.

        Raises:
            Interrupted: a signal came; all is saved.
            UserError: more pictures than the recipe bears can't be read.
        """
        settings = self.trainer.recipe.checkpoint
        received, overdue, any_bad = distributed.largest_of_all(
            self._signals.received, time.monotonic() - self._saved_at > 60 * settings.every_minutes, bool(step.bad)
        )
        if any_bad:
            self._note_bad(step.bad)
        if step.ends_epoch or overdue or received:
            keep = settings.keep_epochs and step.ends_epoch and (step.epoch + 1) % settings.keep_epochs == 0
            self._save(f"epoch-{step.epoch + 1:04d}.pt" if keep else None)
        if received and step.number < step.steps:
            raise Interrupted(f"stopped at step {step.number} of {step.steps}; all is saved", received)

    def _save(self, kept: str | None) -> None:
        """Every process brings its share; the first one writes, and what it meets, all meet."""
        state = self.trainer.state()
        first_decides(lambda: save_checkpoint(self.folder, state, kept))
        self._saved_at = time.monotonic()

    def _note_bad(self, seen: dict[int, str]) -> None:
        """Remember pictures that could not be read.

        Raises:
            UserError: they are more than the recipe bears.
        """
        bad, pictures, most = self.trainer.course.bad, self.trainer.pictures, self.trainer.recipe.data.max_bad
        new = {index: why for index, why in seen.items() if index not in bad}
        fresh = {index: why for of_one in distributed.objects_of_all(new) for index, why in of_one.items()}
        if not fresh:
            return
        bad |= fresh
        names = [one_line(f"{pictures.name(index)}: {why}") for index, why in sorted(bad.items())]
        if distributed.is_writer():
            write_text(self.folder.bad_pictures, "\n".join(names) + "\n")
        if len(bad) > borne(most, len(pictures)):
            shown = "\n  ".join(names[:10])
            raise UserError(
                f"{len(bad)} of {len(pictures)} pictures can't be read, more than data.max_bad ({most:g}); mend or "
                f"remove them, or raise it. All seen so far are in {self.folder.bad_pictures}, first:\n  {shown}"
            )

"""What every kind of training has in common: how far a run has come, and what is known of each step.

A trainer gives steps one after another: `Trainer.steps` of SwAV, `ClassifierTrainer.steps`. Around them stands a plain
`for` of a task's, which shows, logs, judges and saves; see `swav_cli.core.keeper`.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from swav_cli.core.clock import Clock
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.loader import Batch, Order
from swav_cli.parallel import distributed
from swav_cli.recipe.classifier_schema import ClassifierTrainingRecipe
from swav_cli.recipe.schema import settled
from swav_cli.recipe.sections import TrainingRecipe
from swav_cli.run.metrics import Step


class Course:
    """How long a run is and how far it has come: what its checkpoints hold beside weights.

    Args:
        start_loss: of a network that knows nothing, in nats: ln K, or ln of the number of classes.
        fingerprint: of all that the weights follow from; of the pictures where nothing is said.
        labels: digest of the classes, where those are learnt.
    """

    def __init__(
        self,
        training: TrainingRecipe | ClassifierTrainingRecipe,
        pictures: Pictures,
        start_loss: float,
        fingerprint: str | None = None,
        labels: str = "",
    ) -> None:
        self.training, self.pictures = training, len(pictures)
        self.batch_size = settled(training.batch_size)
        self.steps_per_epoch = self.pictures // self.batch_size
        self.steps = self.steps_per_epoch * settled(training.epochs)
        self.start_loss = start_loss
        self.fingerprint = pictures.fingerprint() if fingerprint is None else fingerprint
        self.contents, self.labels = pictures.contents(), labels
        self.step = 0  # how many have been taken
        self.epoch_losses: list[float] = []
        self.bad: dict[int, str] = {}
        self.finished_shards: set[int] = set()  # of a stream, in this epoch
        self._began, self._seconds_before = time.monotonic(), 0.0
        self._clock = Clock()

    @property
    def seconds(self) -> float:
        """How long the run has taken, with the times before it was stopped."""
        return self._seconds_before + time.monotonic() - self._began

    def order(self) -> Order:
        """Which pictures this process takes, from the next step on."""
        training = self.training
        return Order(
            self.pictures, self.batch_size, settled(training.epochs), training.seed,
            first_step=self.step, parts=training.accumulate, share=distributed.local_share,
        )  # fmt: skip

    def next_parts(self, batches: Generator[Batch, None, None]) -> list[Batch]:
        """The pictures of the next step, in its parts."""
        self._clock.start()
        parts = [next(batches) for _ in range(self.training.accumulate)]
        self._clock.has_come()
        return parts

    def taken(
        self, parts: list[Batch], loss: float, gradient_norm: float, lr: float, norms: Mapping[str, float] | None = None
    ) -> Step:
        """What is to be known of the step that was taken last, with these pictures."""
        lap = self._clock.stop(self.batch_size)
        epoch, in_epoch = divmod(self.step - 1, self.steps_per_epoch)
        self.epoch_losses.append(loss)
        self.finished_shards.update(shard for part in parts for shard in part.finished)
        epoch_loss = None
        if in_epoch + 1 == self.steps_per_epoch:
            epoch_loss = sum(self.epoch_losses) / len(self.epoch_losses)
            self.epoch_losses.clear()
            self.finished_shards.clear()
        return Step(
            number=self.step, steps=self.steps, epoch=epoch, epochs=settled(self.training.epochs),
            loss=loss, start_loss=self.start_loss, epoch_loss=epoch_loss, lr=lr, gradient_norm=gradient_norm,
            gradient_norms=dict(norms or {}),
            pictures_per_second=lap.rate, waiting=lap.waiting, seconds=self.seconds,
            bad=dict(pair for part in parts for pair in part.bad),
        )  # fmt: skip

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


@contextmanager
def quickest_convolutions() -> Iterator[None]:
    """Within it cuDNN tries its ways for each size of crops, of which there are few; it may add up in another order."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before

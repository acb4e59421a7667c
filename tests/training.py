"""A run in miniature, for tests: the plain `for` around a trainer's steps, as tasks have it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from swav_cli.core.classifier import ClassifierTrainer
from swav_cli.core.keeper import Keeper
from swav_cli.core.swav import Trainer
from swav_cli.run.folder import RunFolder
from swav_cli.run.metrics import Step


def train(
    trainer: Trainer | ClassifierTrainer,
    folder: Path,
    after_step: Callable[[Step], object] = lambda step: None,
    workers: int = 0,
) -> list[Step]:
    """Train to the end; the steps that were taken."""
    taken = []
    with Keeper(RunFolder(folder), trainer) as keeper, closing(trainer.steps(workers)) as steps:
        for step in steps:
            taken.append(step)
            after_step(step)
            keeper.log(step)
            if step.ends_epoch:
                facts = trainer.health(step.epoch_share)._asdict() if isinstance(trainer, Trainer) else {}
                keeper.log_epoch(step, facts)
            keeper.save_where_due(step)
    return taken

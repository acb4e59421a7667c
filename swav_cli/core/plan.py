"""From a settled recipe to what a run is made of: its steps and rates, its network."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from swav_cli.core.model import SwAV
from swav_cli.core.optimizer import learning_rate
from swav_cli.core.weights import about
from swav_cli.recipe.schema import Recipe, settled


class Plan(NamedTuple):
    """A settled recipe's numbers, counted in steps of this run."""

    steps_per_epoch: int
    steps: int
    warmup_steps: int
    peak_lr: float
    final_lr: float
    warmup_lr: float
    frozen_steps: int
    queue_from: int  # step at which the queue begins to fill
    ln_k: float  # the loss of a network to which all prototypes are equally likely, in nats

    def lr(self, step: int) -> float:
        return learning_rate(step, self.steps, self.warmup_steps, self.peak_lr, self.final_lr, self.warmup_lr)


def make_plan(recipe: Recipe, pictures: int) -> Plan:
    """The recipe in steps. Learning rates are scaled linearly from 256 pictures to the batch."""
    batch, epochs, lr = (
        settled(recipe.training.batch_size),
        settled(recipe.training.epochs),
        settled(recipe.optimizer.lr),
    )
    per_epoch, scale = pictures // batch, batch / 256
    return Plan(
        steps_per_epoch=per_epoch,
        steps=per_epoch * epochs,
        warmup_steps=round(per_epoch * recipe.schedule.warmup_epochs),
        peak_lr=lr * scale,
        final_lr=recipe.schedule.final_lr * scale,
        warmup_lr=recipe.schedule.warmup_lr * scale,
        frozen_steps=settled(recipe.loss.freeze_prototypes_steps),
        queue_from=per_epoch * settled(recipe.loss.queue.start_epoch),
        ln_k=math.log(settled(recipe.model.prototypes)),
    )


def make_model(recipe: Recipe) -> SwAV:
    """The network of a recipe with the weights that its seed gives."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        model = about(recipe).build(zero_init_residual=recipe.model.zero_init_residual)
    if recipe.training.checkpoint_activations:
        model.recompute_blocks()
    if recipe.objective == "deepcluster2":  # whose prototypes are centroids
        model.prototypes.requires_grad_(False)
    return model

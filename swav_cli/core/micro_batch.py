"""How much of a batch goes through the network at a time: a number, or the most that a GPU's memory holds."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Literal

import torch

from swav_cli.core import distributed
from swav_cli.core.derive import Derived, with_value
from swav_cli.core.objective import swapped_prediction
from swav_cli.core.optimizer import make_optimizer
from swav_cli.core.plan import make_model
from swav_cli.core.precision import autocast
from swav_cli.core.recipe import Recipe, settled
from swav_cli.errors import UserError

SPARE = 0.05  # of a GPU's memory

MicroBatch = int | Literal["auto"]


def in_micro_batches(recipe: Recipe, wanted: MicroBatch, device: torch.device) -> tuple[Recipe, Derived]:
    """The settled recipe with `training.accumulate` for so many pictures at a time on each process.

    Raises:
        UserError: the batch has no such equal parts, or nothing fits.
    """
    batch, world = settled(recipe.training.batch_size), distributed.world_size()
    distributed.check_shares(batch, 1, world)
    own = batch // world
    if wanted == "auto":
        count, reason = _found(recipe, own, device), "as many as fit into memory"
    else:
        count, reason = min(wanted, own), "--micro-batch"
    if count not in divisors(own):
        near = max((number for number in divisors(own) if number < count), default=own)
        raise UserError(
            f"--micro-batch {wanted}: the {own} pictures of a process have no equal parts of {count}, of 2 or more "
            f"pictures; try --micro-batch {near}"
        )
    key = "training.accumulate"
    found = Derived(key, own // count, f"{reason}: {count} of the {own} pictures of a process at a time")
    return with_value(recipe, key, found.value), found


def _found(recipe: Recipe, own: int, device: torch.device) -> int:
    if device.type != "cuda":
        raise UserError("--micro-batch auto: finds what a CUDA GPU's memory holds; give a number on this device")
    found = largest_that_fits(own, lambda count: fits(recipe, count, device))
    least = -distributed.largest_of_all(-found)[0]  # the weakest GPU of all sets the pace
    if not least:
        raise UserError("--micro-batch auto: not even 2 pictures fit into this GPU's memory; use smaller crops")
    return least


def largest_that_fits(own: int, fits: Callable[[int], bool]) -> int:
    """The largest divisor of `own`, from 2 on, that fits; 0 where none does."""
    return next((count for count in reversed(divisors(own)) if fits(count)), 0)


def divisors(number: int) -> list[int]:
    return [count for count in range(2, number + 1) if number % count == 0]


def fits(recipe: Recipe, count: int, device: torch.device) -> bool:
    """Whether a step on so many made-up pictures, with gradients and the optimiser's memory, finds room.

    A part of the memory stays free for what a true step has besides: changed colours, the queue, the next batch.
    """
    try:
        _make_step(recipe, count, device)
        return True
    except torch.cuda.OutOfMemoryError:
        return False
    finally:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _make_step(recipe: Recipe, count: int, device: torch.device) -> None:
    spare = []  # holds it until the step is done
    if device.type == "cuda":
        spare.append(torch.empty(int(SPARE * torch.cuda.mem_get_info(device)[1]), dtype=torch.uint8, device=device))
    model = make_model(recipe).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    settings = recipe.optimizer
    optimizer = make_optimizer(
        settings.name, model.parameters(), 0.0, settings.momentum, settings.weight_decay, settings.trust_coefficient
    )
    views = [
        torch.randn(count, recipe.data.channels, crop.size, crop.size, device=device)
        for crop in recipe.crops
        for _ in range(crop.count)
    ]
    with autocast(device, recipe.training.precision):
        _, scores = model(views)
    scores = scores.unflatten(0, (len(views), -1))
    codes = scores.detach()[recipe.assigned_crops].softmax(dim=-1)  # as large as true ones, and of this process alone
    swapped_prediction(scores, codes, recipe.assigned_crops, recipe.loss.temperature).backward()
    optimizer.step()

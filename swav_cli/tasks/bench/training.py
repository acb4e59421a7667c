"""A step of training, eager and compiled, and steps from pictures to weights."""

from __future__ import annotations

import math
import statistics
import time
from contextlib import closing
from typing import Any, NamedTuple

import torch

from swav_cli.core.device import own_device, peak_memory
from swav_cli.core.swav import Trainer
from swav_cli.core.train import quickest_convolutions
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.cache import CachedPictures, free_memory
from swav_cli.data.reading.loader import Batch
from swav_cli.errors import MemoryFull, UserError, is_memory_full
from swav_cli.planning.micro_batch import at_its_fullest, divisors, give_back, made_up_batch
from swav_cli.planning.step_parts import Counts, counts_of_step, seconds_of_parts
from swav_cli.planning.timing import laps, wait
from swav_cli.planning.trial import on_processor
from swav_cli.recipe.schema import Recipe
from swav_cli.tasks.bench.subject import Lying, Subject, batch_of, with_training

MOST_STEPS = 500  # that are timed
WARM = 2  # steps after the first, in which the optimiser's memory and the queue come to be
AFTER_COMPILING = 0.12  # of the time, for compiled steps, and for those of a run
LEAST_TO_ANSWER = 2.0  # seconds
LOOKING, PARTS = 0.4, 0.3  # of the time, for how many pictures there is time for, and for a step's parts


class Steps(NamedTuple):
    """Steps on a batch that lies ready."""

    recipe: Recipe  # with the batch that was timed, in the parts in which it went through the network
    first_seconds: float  # in which kernels are looked for, or compiled
    seconds: float  # the middle one of the others
    peak_bytes: int  # that this process has held at most: on CUDA of the GPU's memory, in these steps

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return batch_of(self.recipe) / self.seconds


class Eager(NamedTuple):
    """Steps without compiling, and what they are made of."""

    steps: Steps
    parts: dict[str, float]  # seconds of each, of one part of the batch
    counts: Counts

    @property
    def shares(self) -> dict[str, float]:
        """Of each part in a step."""
        whole = self.steps.seconds / self.steps.recipe.training.accumulate
        return {name: seconds / whole for name, seconds in self.parts.items()}


def time_eager(given: Subject, seconds: float) -> tuple[Eager, Trainer]:
    """Steps with the recipe's batch, or as many pictures as there are room and time for; and what takes them.

    Raises:
        UserError: not even two pictures find room.
    """
    ended = time.monotonic() + seconds
    recipe = with_training(given.recipe, compile=False)
    with quickest_convolutions():
        if given.device.type == "cpu":
            recipe = _affordable(recipe, given.device, LOOKING * seconds)
            steps, trainer, batch = _timed(recipe, given.pictures, given.device, 0.5 * (ended - time.monotonic()))
        else:
            steps, trainer, batch = _with_room(recipe, given, 0.5 * seconds)
        left = max(0.0, ended - time.monotonic())
        parts = seconds_of_parts(trainer, batch[0], min(left, PARTS * seconds))
        counts = counts_of_step(trainer, batch)
    return Eager(steps, parts, counts), trainer


def _affordable(recipe: Recipe, device: torch.device, seconds: float) -> Recipe:
    """On a processor, a batch of as many pictures as are trained within the time; all of them, where that is so."""
    batch, parts = batch_of(recipe), recipe.training.accumulate
    found = on_processor(recipe, device, seconds, free_memory())
    if not found.rate:
        raise MemoryFull
    if found.timed == batch // parts and batch / found.rate < seconds:
        return recipe
    return with_training(recipe, batch_size=found.timed, accumulate=1)


def _with_room(recipe: Recipe, given: Subject, seconds: float) -> tuple[Steps, Trainer, list[Batch]]:
    """On a GPU, the recipe's batch in as few equal parts as find room."""
    batch = batch_of(recipe)
    for count in reversed(divisors(batch // recipe.training.accumulate)):
        try:
            return _timed(with_training(recipe, accumulate=batch // count, sync_batchnorm=False), given.pictures,
                          given.device, seconds)  # fmt: skip
        except RuntimeError as error:
            if not is_memory_full(error):
                raise
            error.with_traceback(None)  # whose frames hold the step's tensors
        give_back(given.device)
    raise MemoryFull


def prepared(recipe: Recipe, pictures: Pictures, device: torch.device) -> tuple[Trainer, list[Batch]]:
    """A trainer whose steps cost what most of a run's do, and a batch as the loader leaves it, in its parts."""
    parts = recipe.training.accumulate
    made = made_up_batch(recipe, batch_of(recipe) // parts)
    if device.type == "cuda":
        made = made._replace(crops=[each.pin_memory() for each in made.crops], numbers=made.numbers.pin_memory())
    return at_its_fullest(recipe, pictures, device), [made] * parts


def _timed(
    recipe: Recipe, pictures: Pictures, device: torch.device, seconds: float
) -> tuple[Steps, Trainer, list[Batch]]:
    trainer, batch = prepared(recipe, pictures, device)

    def step() -> object:
        return trainer.train_step(batch)

    first = laps(step, device, 1)[0]
    few = 0 if first > seconds / 4 and device.type == "cpu" else WARM  # there the first is like the others
    if few:
        laps(step, device, few)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    middle = statistics.median(laps(step, device, MOST_STEPS, seconds, alone=False))
    wait(device)
    return Steps(recipe, first, middle, peak_memory(device) or 0), trainer, batch


# --- from pictures to weights ----------------------------------------------------------------------------------------


class EndToEnd(NamedTuple):
    """Steps as a run takes them."""

    seconds: float  # of a step
    waiting: float  # share of the time, for pictures
    steps: int  # that were timed


def time_end_to_end(trainer: Trainer, pictures: Pictures, workers: int, seconds: float) -> EndToEnd:
    """Steps on pictures that are read meanwhile, from when all processes that read have given their first ones.

    Raises:
        UserError: pictures can't be read.
    """
    trainer.pictures, trainer.course.step = pictures, 0
    if trainer.recipe.data.cache == "device" and isinstance(pictures, CachedPictures):
        trainer.keep_on_device(pictures)
    ended = time.monotonic() + seconds
    skipped = max(WARM, math.ceil(workers / trainer.recipe.training.accumulate))
    waited: list[float] = []
    with closing(trainer.steps(workers)) as steps:
        for _ in range(skipped):
            next(steps)
            if time.monotonic() > ended - seconds / 2:
                break
        began = time.monotonic()
        for step in steps:
            waited.append(step.waiting)
            taken = time.monotonic() - began
            if time.monotonic() > ended or len(waited) >= MOST_STEPS:
                break
    if not waited:
        raise UserError("the run has too few steps to be timed")
    return EndToEnd(taken / len(waited), statistics.mean(waited), len(waited))


# --- compiled --------------------------------------------------------------------------------------------------------


class Compiled(NamedTuple):
    """Steps of the compiled network, and those of a run with it, where there was time for them."""

    steps: Steps
    end_to_end: EndToEnd | None


def compiled_there(recipe: dict[str, Any], given: Lying, device: str, seconds: float) -> tuple[tuple[Any, ...], ...]:
    """What `Compiled` holds but for the recipe: what a process of its own does, so that it may be ended.

    Args:
        recipe: settled, as plain values.
        seconds: for all of it.
    """
    ended, chosen = time.monotonic() + seconds, own_device(device)
    compiled = with_training(Recipe.model_validate(recipe), compile=True)
    pictures = given.opened(compiled)
    with quickest_convolutions():
        steps, trainer, _ = _timed(compiled, pictures, chosen, AFTER_COMPILING * seconds)
    told = steps[1:]
    left = ended - time.monotonic() - LEAST_TO_ANSWER
    if left < LEAST_TO_ANSWER:
        return told, ()
    try:
        return told, tuple(time_end_to_end(trainer, pictures, given.workers, min(left, AFTER_COMPILING * seconds)))
    except UserError:
        return told, ()

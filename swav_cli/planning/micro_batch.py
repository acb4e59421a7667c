"""How much of a batch goes through the network at a time: a number, or the most that a GPU's memory holds."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import nullcontext
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from swav_cli.core.deepcluster import make_trainer
from swav_cli.core.multicrop import draw_colours
from swav_cli.core.swav import Trainer
from swav_cli.core.train import quickest_convolutions
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.loader import Batch
from swav_cli.errors import UserError, is_memory_full
from swav_cli.parallel import distributed
from swav_cli.planning.derive import Derived, with_value
from swav_cli.planning.timing import laps
from swav_cli.recipe.schema import Recipe, settled

SPARE = 0.05  # of a GPU's memory, which stays free: memory falls to pieces, and the screen may need some
NCCL = 2**30  # bytes that NCCL takes for its buffers beside torch's memory, where there are several processes
STEPS = 2  # the optimiser's memory is there from the second one on
MOST_PARTS = 4  # that are tried; the others need no more than room for their codes
NO_ENGINE = "unable to find an engine"  # what cuDNN says where none finds room to work in, and for other reasons

MicroBatch = int | Literal["auto"]


class Tried(NamedTuple):
    """Steps that have found room."""

    pictures: int  # of each step
    seconds: tuple[float, ...]  # of each; the first one looks for kernels too
    most_bytes: int  # of a GPU's memory that tensors took at once, with what was kept free; 0 elsewhere

    @property
    def rate(self) -> float:
        """Pictures a second, of the quickest step after the first: what others do on the machine only slows."""
        return self.pictures / min(self.seconds[1:] or self.seconds)


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
    wanted = [own] if recipe.training.sync_batchnorm is not False else divisors(own)
    failures: list[RuntimeError] = []

    def has_room(count: int) -> bool:
        try:
            return fits(recipe, count, own, device)
        except RuntimeError as error:  # such as a kernel that counts no further than 2^31: a smaller part may do
            failures.append(error.with_traceback(None))  # whose frames hold the step's tensors
        give_back(device)
        return False

    found = largest_that_fits(wanted, has_room)
    least = -distributed.largest_of_all(-found)[0]  # the weakest GPU of all sets the pace
    if least:
        return least
    if failures:
        raise failures[-1]
    if recipe.training.sync_batchnorm is not False:
        raise UserError(
            f"--micro-batch auto: the {own} pictures of a process don't fit into this GPU's memory at once, and parts "
            f"exclude training.sync_batchnorm ({recipe.training.sync_batchnorm}): processes would share statistics of "
            "a part and never see the other parts; add --set training.sync_batchnorm=false"
        )
    raise UserError("--micro-batch auto: not even 2 pictures fit into this GPU's memory; use smaller crops")


def largest_that_fits(counts: list[int], fits: Callable[[int], bool]) -> int:
    """The largest of the counts, given in rising order, that fits; 0 where none does."""
    return next((count for count in reversed(counts) if fits(count)), 0)


def divisors(number: int) -> list[int]:
    """From 2 on, which batch normalisation needs; 1 of 1."""
    return [count for count in range(2, number + 1) if number % count == 0] or [number]


def fits(recipe: Recipe, count: int, own: int, device: torch.device) -> bool:
    """Whether a process's steps find room: true steps of the run, on made-up pictures.

    Args:
        count: pictures that go through the network at a time.
        own: pictures of a step.
    """
    return tried(recipe, count, own, device) is not None


def tried(
    recipe: Recipe,
    count: int,
    own: int,
    device: torch.device,
    spare: float = SPARE,
    steps: int = STEPS,
    searches: bool = True,
) -> Tried | None:
    """How long such steps take, on made-up pictures; None where they find no room.

    Args:
        count, own: see `fits`.
        spare: share of a GPU's memory that stays free.
        steps: how many.
        searches: cuDNN looks for the quickest kernels, as in a run, which takes some memory and up to a minute.
    """
    with quickest_convolutions() if searches else nullcontext():
        found = _steps_in_room(recipe, count, own, device, spare, steps)
    give_back(device)
    return found


def give_back(device: torch.device) -> None:
    """Memory of what is no longer used."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _steps_in_room(
    recipe: Recipe, count: int, own: int, device: torch.device, spare: float, steps: int
) -> Tried | None:
    world = distributed.world_size()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        # What cuDNN tries takes memory too, as in the run. One that finds no room must not leave the others waiting.
        with distributed.alone():
            parts = min(own // count, MOST_PARTS)
            trainer = _trainer_of_one(recipe, count * parts, parts, world, device)
            kept_free = _kept_free(trainer, own - count * parts, world, spare)
            batch = [made_up_batch(recipe, count)] * parts
            seconds = laps(lambda: trainer.train_step(batch), device, steps, alone=False)
            del kept_free
        most = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
        return Tried(count * parts, tuple(seconds), most)
    except RuntimeError as error:
        if not _tells_of_no_room(error):
            raise
        return None


def _tells_of_no_room(error: RuntimeError) -> bool:
    return is_memory_full(error) or NO_ENGINE in str(error)


class MadeUp(Pictures):
    """As many pictures as a step takes; they are never read."""

    source, channels = "made up", 3

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def fingerprint(self) -> str:
        return self.source


def _trainer_of_one(recipe: Recipe, batch: int, parts: int, world: int, device: torch.device) -> Trainer:
    """One of so many processes at its fullest."""
    training = recipe.training.model_copy(
        # Compiled networks take less memory, and minutes to make.
        update={"batch_size": batch, "accumulate": parts, "sync_batchnorm": False, "compile": False}
    )
    length = settled(recipe.loss.queue.length) // world
    queue = recipe.loss.queue.model_copy(update={"length": length})
    loss = recipe.loss.model_copy(update={"queue": queue})
    return at_its_fullest(recipe.model_copy(update={"training": training, "loss": loss}), MadeUp(batch), device)


def at_its_fullest(recipe: Recipe, pictures: Pictures, device: torch.device) -> Trainer:
    """A trainer whose steps cost what most of a run's do: the queue full, the prototypes trained. Nothing is learnt."""
    trainer = make_trainer(recipe, pictures, device)
    trainer.plan = trainer.plan._replace(peak_lr=0.0, final_lr=0.0, warmup_lr=0.0, frozen_steps=0, queue_from=0)
    if trainer.queue is not None:
        trainer.queue.filled = settled(recipe.loss.queue.length)
    trainer.model.train()
    return trainer


def made_up_batch(recipe: Recipe, count: int) -> Batch:
    """A batch as it comes from the reading processes, of noise; its colours change as those of the run."""
    colours = np.random.Generator(np.random.Philox(key=0))
    views = sum(crop.count for crop in recipe.crops)
    drawn = [draw_colours(colours, views, recipe.augment) for _ in range(count)]
    generator = torch.Generator().manual_seed(0)
    crops = []
    for crop in recipe.crops:
        shape = (1, crop.count, recipe.data.channels, crop.size, crop.size)
        noise = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        crops.append(noise.repeat(count, 1, 1, 1, 1))
    return Batch(crops, torch.from_numpy(np.stack(drawn)), torch.arange(count), [])


def _kept_free(trainer: Trainer, untried: int, world: int, spare: float) -> list[Tensor]:
    """Memory that is held while steps are tried: what a run takes besides.

    Args:
        untried: pictures of a step beyond those that are tried, whose embeddings, scores and codes wait for each other.
        spare: share of all of it.
    """
    if trainer.device.type != "cuda":
        return []
    model = trainer.recipe.model
    a_picture = 4 * len(trainer.recipe.assigned_crops) * (model.embedding_dim + 4 * settled(model.prototypes))
    free = spare * torch.cuda.mem_get_info(trainer.device)[1] + a_picture * untried
    if world > 1:  # gradients stand twice while they are put into the buckets in which they are sent
        free += NCCL + 4 * sum(weights.numel() for weights in trainer.model.parameters())
    return [torch.empty(int(free), dtype=torch.uint8, device=trainer.device)]

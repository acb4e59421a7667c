"""How long a run will take, told before its first step; and a run planned to a time: `swav pretrain --minutes`."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import torch

from swav_cli.core.estimate import estimate, estimate_disk
from swav_cli.data.pictures import Limited, Pictures
from swav_cli.data.reading.cache import CachedPictures, free_memory, is_kept
from swav_cli.data.reading.limits import own_processors
from swav_cli.data.shards.streams import StreamPictures
from swav_cli.errors import UserError
from swav_cli.evaluate.neighbours import Labelled
from swav_cli.parallel import distributed
from swav_cli.parallel.processes import first_decides
from swav_cli.planning.budget import Speed, Wish, as_planned, plan_to, times
from swav_cli.planning.derive import Derived, settle_numbers, with_values
from swav_cli.planning.own_process import ProcessFailed
from swav_cli.planning.pace import CACHED_SAMPLE, measure_reading, pace_of
from swav_cli.planning.smaller import largest_crop
from swav_cli.planning.trial import apart, on_processor
from swav_cli.recipe.file import read_recipe
from swav_cli.recipe.schema import Recipe, settled
from swav_cli.report.words import duration
from swav_cli.run.folder import RunFolder

READING, STEPS, STEPS_ON_GPU = 0.3, 1.5, 10.0  # seconds for which each is measured
DISK = 3e8  # bytes a second, at which checkpoints are written
LONG = 3e8  # pixels that go through a network: below, a run on two cores takes some minutes at most
MOST_MINUTES = 1e6
WORTH_TELLING = 5 * 60  # seconds
PARTS = {"mean": 0.5, "std": 0.25}  # of pixels, for steps that teach nothing
MUCH_READING = 0.3  # of the time
NONE = Speed(1e-6, 1e6)  # of what finds no room


class Asked(NamedTuple):
    """What was asked for beside the recipe.

    >>> Asked(minutes=10, held=["model.width"]).minutes
    10
    """

    minutes: float | None = None  # that the run is to take
    held: Collection[str] = ()  # keys of values that a plan leaves as they are
    began: float | None = None  # when, by time.monotonic
    fetches: bool = True  # published weights that are named and not here


NOTHING = Asked()


class Opened(NamedTuple):
    """Pictures of a run."""

    training: Pictures
    labelled: Labelled | None  # that judge it


def begun_recipe(folder: Path | None) -> Recipe | None:
    """That of the pretraining run in a folder; None where there is none."""
    path = RunFolder(folder).recipe if folder else None
    # Unlike the path's own method, of a name of any length: one that is too long is told of where it is written.
    found = read_recipe(path) if path is not None and os.path.exists(path) else None
    return found if isinstance(found, Recipe) else None


def as_begun(recipe: Recipe, begun: Recipe, asked: Asked, folder: Path) -> Recipe:
    """The recipe with the plan of the run that goes on.

    Raises:
        UserError: that run was planned to another time, or to none.
    """
    before = begun.training.minutes
    if asked.minutes is None:
        return recipe
    if before != asked.minutes:
        how = "not planned to a time" if before is None else f"planned to {before:g} minutes"
        raise UserError(
            f"--minutes {asked.minutes:g}: {folder} holds a run that was {how}; go on with it "
            f"{'without --minutes' if before is None else f'by --minutes {before:g}'}, train elsewhere with --out DIR "
            "or --no-resume, or replace it with --overwrite"
        )
    return as_planned(recipe, begun, asked.held)


def planned(recipe: Recipe, opened: Opened, device: torch.device, asked: Asked) -> tuple[Recipe, list[Derived]]:
    """The recipe as it fits into the minutes asked for, measured on this machine by the first process.

    Raises:
        UserError: nothing fits; with the minutes that do.
    """
    assert asked.minutes is not None
    if not 0 < asked.minutes < MOST_MINUTES:
        raise UserError(f"--minutes {asked.minutes:g}: write how many minutes the run is to take, such as --minutes 20")
    minutes, labelled = asked.minutes, opened.labelled
    sample = _sample(recipe, opened.training)
    spent = time.monotonic() - (asked.began or time.monotonic())

    def find() -> tuple[Recipe, list[Derived]]:
        wish = Wish(
            minutes, len(opened.training), len(labelled.taught_by) if labelled else 0,
            len(labelled.queries) if labelled else 0, spent, asked.held,
        )  # fmt: skip
        return plan_to(recipe, wish, lambda each: measured(each, sample, device), from_above=device.type == "cuda")

    return first_decides(find)


class Sample(NamedTuple):
    """Pictures by which reading is measured."""

    total: int  # pictures that there are
    pictures: Pictures | None  # None of a stream, which is as quick as its network
    in_memory: bool
    filling: float  # seconds a picture takes to be brought into memory


def _sample(recipe: Recipe, pictures: Pictures) -> Sample:
    if isinstance(pictures, StreamPictures):
        return Sample(len(pictures), None, False, 0.0)
    if isinstance(pictures, CachedPictures) or not is_kept(pictures, recipe.data.cache):
        return Sample(len(pictures), pictures, isinstance(pictures, CachedPictures), 0.0)
    began = time.monotonic()
    some = Limited(pictures, CACHED_SAMPLE, recipe.training.seed) if len(pictures) > CACHED_SAMPLE else pictures
    kept = CachedPictures(some, max(1, own_processors()))
    return Sample(len(pictures), kept, True, (time.monotonic() - began) / len(kept))


def measured(recipe: Recipe, sample: Sample, device: torch.device) -> Speed:
    """How quick a recipe is here, by true steps on made-up pictures and by some of its own that are read."""
    ready = _ready(recipe, sample.total, device)
    training = _trained(ready, device) * distributed.world_size()
    if not training:
        return NONE
    looking = largest_crop(recipe) ** 2 / (3 * sum(c.count * c.size**2 for c in recipe.crops)) / training
    saving = estimate_disk(ready, estimate(ready), sample.total).checkpoint_bytes / DISK
    if sample.pictures is None:
        return Speed(training, looking, saving=saving)
    reading = measure_reading(ready, sample.pictures, False, READING)._replace(in_memory=sample.in_memory)
    pace = pace_of(reading, training, device, recipe.training.workers)
    looking += 1 / (reading.rate * max(1, pace.workers))
    return Speed(pace.rate, looking, max(0.0, 1 - pace.rate / training), sample.filling, saving)


def _ready(recipe: Recipe, count: int, device: torch.device) -> Recipe:
    """The recipe with all that a step needs."""
    channels = recipe.data.channels
    open_values = {
        f"data.{part}": [value] * channels for part, value in PARTS.items() if getattr(recipe.data, part) == "auto"
    }
    return settle_numbers(with_values(recipe, open_values), count, device)[0]


def _trained(recipe: Recipe, device: torch.device) -> float:
    """Pictures a second; 0 where not even a few find room."""
    if device.type != "cuda":
        return on_processor(recipe, device, STEPS, free_memory()).rate
    try:
        return apart(recipe, str(device), STEPS_ON_GPU).rate
    except ProcessFailed as error:
        raise UserError(f"--minutes: steps could not be timed on {device}: {error}") from None


def time_needed(recipe: Recipe, opened: Opened, device: torch.device, steps: tuple[int, int]) -> str | None:
    """How long a run takes and what would shorten it, in words; None where that is short, or planned, or not measured.

    Args:
        recipe: settled.
        steps: that are left, and in all.
    """
    pictures, left = opened.training, steps[0] / max(1, steps[1])
    epochs = settled(recipe.training.epochs)
    work = left * len(pictures) * epochs * sum(crop.count * crop.size**2 for crop in recipe.crops)
    if device.type == "cuda" or distributed.world_size() > 1 or recipe.training.minutes is not None or work < LONG:
        return None  # a GPU is quick, and its first steps show how long all take
    speed = measured(recipe, _sample(recipe, pictures), device)
    labelled = opened.labelled
    sides = (len(labelled.taught_by), len(labelled.queries)) if labelled else (0, 0)
    needed = times(recipe, epochs, Wish(0, len(pictures), *sides), speed._replace(filling=0.0))
    seconds = left * needed.training + needed.judging
    if seconds < WORTH_TELLING or speed is NONE:
        return None
    return f"takes about {duration(seconds)}: {describe_speed(speed, device)}. {_shorter(recipe, epochs, speed)}"


def describe_speed(speed: Speed, device: torch.device) -> str:
    reading = f", {speed.reading:.0%} of the time reading them" if speed.reading >= MUCH_READING else ""
    return f"{speed.rate:,.{0 if speed.rate >= 20 else 1}f} pictures/s on this {device.type}, as measured{reading}"


def _shorter(recipe: Recipe, epochs: int, speed: Speed) -> str:
    """What would take less time."""
    found = ["--minutes N plans a run to a time, with a smaller network, smaller crops and fewer epochs"]
    if epochs > 1:
        found.append(f"--epochs {epochs // 2} takes half")
    if speed.reading >= MUCH_READING:
        found.append("pictures made smaller once are read more quickly")
    return "Shorter: " + "; ".join(found)

"""How quick a run will be: pictures read against pictures trained, and which of the two limits."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import torch

from swav_cli.core.multicrop import MultiCrop
from swav_cli.data.pictures import Limited, Pictures
from swav_cli.data.reading.cache import CachedPictures
from swav_cli.data.reading.limits import own_processors
from swav_cli.data.reading.loader import Crops, epoch_order, spare_processors
from swav_cli.recipe.schema import Recipe

READ_AT_ONCE = 8  # pictures between two looks at the clock
CACHED_SAMPLE = 256  # pictures kept in memory for the measurement, where a run keeps all
MOST_READING = 0.5  # share of a processor's time, above which reading keeps training waiting


class Reading(NamedTuple):
    """How quick pictures become crops."""

    rate: float  # pictures a second, on one core
    in_memory: bool  # a run keeps all of them decoded
    bytes_a_picture: int  # of a picture's crops, as they go from worker to trainer
    tensors: int  # of a batch
    seconds_once: float = 0.0  # a picture takes to be brought into memory, by all cores together


class Pace(NamedTuple):
    """How quick a run will be."""

    rate: float  # pictures a second
    limit: str  # reading or training
    workers: int
    enough_workers: int  # that keep up with training


def sample_in_memory(pictures: Pictures, seed: int) -> Pictures:
    """Some of the pictures, decoded, to be measured in place of all."""
    some = Limited(pictures, CACHED_SAMPLE, seed) if len(pictures) > CACHED_SAMPLE else pictures
    return CachedPictures(some, max(1, own_processors()))


def measure_reading(recipe: Recipe, pictures: Pictures, in_memory: bool, seconds: float) -> Reading:
    """Pictures read and their crops cut on one core, as a worker does it, for so long.

    Args:
        in_memory: whether a run would keep them decoded.

    Raises:
        UserError: they can't be read.
    """
    seconds_once = 0.0
    if in_memory:
        began = time.monotonic()
        pictures = sample_in_memory(pictures, recipe.training.seed)
        seconds_once = (time.monotonic() - began) / len(pictures)
    crops = Crops(pictures, MultiCrop(recipe.crops, recipe.augment, recipe.training.seed))
    order = epoch_order(len(pictures), recipe.training.seed, 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        sample = crops.__getitems__([(0, int(order[0]))])  # the first one pays for imports and the like
        done, began = 0, time.monotonic()
        while time.monotonic() - began < seconds:
            places = [(0, int(order[place % len(order)])) for place in range(done, done + READ_AT_ONCE)]
            crops.__getitems__(places)
            done += len(places)
        rate = done / (time.monotonic() - began)
    finally:
        torch.set_num_threads(threads)
    tensors = [*sample.crops, sample.numbers, sample.indices]
    return Reading(rate, in_memory, sum(tensor.nbytes for tensor in tensors), len(tensors), seconds_once)


def pace_of(reading: Reading, training: float, device: torch.device, wanted: int | str) -> Pace:
    """How quick a run is where pictures are read at one rate and trained at another.

    A GPU computes while other processors read: the slower of the two sets the pace. Where the processors train as
    well, each picture takes the time of both.

    >>> gpu = torch.device("cuda")
    >>> pace_of(Reading(300.0, False, 0, 1), training=2000.0, device=gpu, wanted=4)
    Pace(rate=1200.0, limit='reading', workers=4, enough_workers=7)

    Args:
        training: pictures a second.
        wanted: training.workers.
    """
    cores = max(1, own_processors())
    if device.type != "cpu":
        workers = spare_processors(device) if wanted == "auto" else int(wanted)
        enough = math.ceil(training / reading.rate)
        read = reading.rate * max(1, workers)
        return Pace(min(read, training), "training" if read >= training else "reading", workers, enough)
    workers = (0 if reading.in_memory else spare_processors(device)) if wanted == "auto" else int(wanted)
    hands = cores if workers else 1  # without workers the one process reads, and the other cores wait
    rate = 1 / (1 / training + 1 / (reading.rate * hands))
    share = 1 - rate / training
    return Pace(rate, "reading" if share > MOST_READING else "training", workers, workers)

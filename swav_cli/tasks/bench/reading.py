"""How quick the loader is by itself, with all processes that read."""

from __future__ import annotations

import time
from contextlib import closing

import torch

from swav_cli.core.multicrop import MultiCrop
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.loader import Order, load_batches
from swav_cli.recipe.schema import Recipe, settled

OF_A_WORKER = 32  # pictures at most that a worker gives at a time, so that they come evenly


def measure_loader(recipe: Recipe, pictures: Pictures, workers: int, device: torch.device, seconds: float) -> float:
    """Pictures a second of the loader by itself, with so many processes that read, of which there is one at least.

    Raises:
        UserError: they can't be read.
    """
    multicrop = MultiCrop(recipe.crops, recipe.augment, recipe.training.seed)
    batch = min(OF_A_WORKER, settled(recipe.training.batch_size))
    order = Order(len(pictures), batch, settled(recipe.training.epochs), recipe.training.seed)
    with closing(load_batches(pictures, multicrop, order, workers, device.type == "cuda")) as batches:
        ended = time.monotonic() + seconds
        for _ in range(2 * workers):  # the first ones of all come at once
            next(batches)
            if time.monotonic() > ended - seconds / 2:
                break
        done, began = 0, time.monotonic()
        while not done or time.monotonic() < ended:
            next(batches)
            done += batch
        return done / (time.monotonic() - began)

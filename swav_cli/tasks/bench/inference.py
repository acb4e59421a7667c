"""How many pictures a second a trained network takes: alone, and from files as `swav extract` feeds it."""

from __future__ import annotations

import statistics
import time
from contextlib import closing
from typing import NamedTuple

import torch

from swav_cli.core.plan import make_model
from swav_cli.core.precision import autocast, memory_format, pick_precision
from swav_cli.core.weights import Model, about
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.limits import own_processors
from swav_cli.evaluate.features import Squares, stream_features
from swav_cli.evaluate.inference import Inference
from swav_cli.planning.pace import READ_AT_ONCE
from swav_cli.planning.timing import laps
from swav_cli.recipe.schema import Recipe
from swav_cli.tasks.bench.made_up import Repeated

MOST_BATCHES = 200
MANY = 10_000_000  # pictures, more than there is time for


class Extraction(NamedTuple):
    """Files to features."""

    rate: float  # pictures a second
    workers: int
    decoder: float  # pictures a second that all cores could decode, by one core's rate


def network_of(recipe: Recipe, device: torch.device) -> tuple[Model, Inference]:
    """A recipe's network as it is judged, with weights that have learnt nothing, and how it is run."""
    network = make_model(recipe).to(device).to(memory_format=memory_format(device)).eval()
    return Model(network, about(recipe)), Inference(device, pick_precision(device)[0])


def time_network(model: Model, how: Inference, seconds: float) -> float:
    """Pictures a second of the network alone, whose features come back to the processor."""
    told = model.about
    batch = how.batch(told.size)
    x = torch.randn(batch, told.channels, told.size, told.size, device=how.device)
    x = x.contiguous(memory_format=memory_format(how.device))

    def run() -> object:
        return model.network.features(x).float().cpu()

    with torch.no_grad(), autocast(how.device, how.precision):
        first = laps(run, how.device, 1)[0]
        if first > seconds:
            return batch / first
        return batch / statistics.median(laps(run, how.device, MOST_BATCHES, seconds - first))


def time_extraction(model: Model, how: Inference, files: Pictures, seconds: float) -> Extraction:
    """Files to features, from the second batch of each process that reads; the network has run before.

    Raises:
        UserError: they can't be read.
    """
    size = model.about.size
    decoder = _decoding_rate(files, model, seconds / 4)
    many = Repeated(files, MANY)
    workers, left = how.readers(many, size), 0.75 * seconds
    done, began = 0, time.monotonic()
    ended = now = began + left
    with closing(stream_features(model.network.features, many, model.about, how)) as parts:
        for number, part in enumerate(parts):
            now = time.monotonic()
            if number < max(1, workers) and now < ended - left / 2:  # the first ones of all come at once
                began = now
                continue
            done += len(part.indices)
            if now > ended:
                break
    return Extraction(done / (now - began), workers, decoder)


def _decoding_rate(files: Pictures, model: Model, seconds: float) -> float:
    """Pictures a second that one core decodes and cuts, times the cores."""
    squares = Squares(files, model.about.size, model.about.crop_pct)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        squares.__getitems__([0])
        done, began = 0, time.monotonic()
        while not done or time.monotonic() - began < seconds:
            squares.__getitems__([(done + place) % len(files) for place in range(READ_AT_ONCE)])
            done += READ_AT_ONCE
        return done / (time.monotonic() - began) * max(1, own_processors())
    finally:
        torch.set_num_threads(threads)

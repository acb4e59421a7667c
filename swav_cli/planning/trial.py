"""What true steps tell before a run: how many pictures a second, and how many find room at a time.

On CUDA in a process of its own, so that a GPU that is too small ends nothing but a trial.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from swav_cli.core.device import own_device
from swav_cli.core.estimate import estimate, processor_bytes
from swav_cli.errors import silent
from swav_cli.planning.micro_batch import Tried, divisors, tried
from swav_cli.planning.own_process import in_own_process
from swav_cli.recipe.schema import Recipe, settled

SPARE = 0.1  # of the memory, which stays free
FIRST = 4  # pictures of the first trial
TIMED = 3  # steps after the first one, in which kernels are looked for and libraries loaded
ROUNDED = 8  # largest batches are multiples of it
LESS = 0.93  # of a number that found no room is tried next
LIBRARIES = 0.97  # of the memory is torch's; the rest is that of CUDA's libraries
MANY = 64  # pictures of a second trial, where the recipe's own batch finds no room
MOST = 65_536  # pictures at a time that are looked for
WORST = 600  # seconds that a process may take beside its trials, on a machine that is busy


class Trial(NamedTuple):
    """What came of it."""

    rate: float  # pictures a second of a training step, without reading; 0 where not even the fewest find room
    timed: int  # pictures at a time that were timed
    wanted: int  # pictures that the recipe sends through the network at a time
    largest: int  # that find room, with a tenth to spare
    is_measured: bool  # that they do was tried, and not estimated
    micro_batch: int  # the largest part of the recipe's batch that finds room; 0: none

    @property
    def fits(self) -> bool:
        return self.largest >= self.wanted


def on_processor(recipe: Recipe, device: torch.device, seconds: float, free: float) -> Trial:
    """Steps timed with as many pictures as there is time for; room by estimate.

    Args:
        recipe: settled.
        seconds: that the trial may take, roughly.
        free: bytes that can be had.
    """
    batch, wanted = _sizes(recipe)
    needs = estimate(recipe)
    room = (1 - SPARE) * free - processor_bytes(needs, 0, wanted)
    a_picture = processor_bytes(needs, 1, wanted) - processor_bytes(needs, 0, wanted)
    largest = _rounded(min(MOST, max(0, int(room / a_picture))))
    ended = time.monotonic() + seconds
    best: Known | None = None
    count = min(2, wanted)
    while largest >= count:
        found = _steps(recipe, count, device, steps=1 + TIMED)
        best = found or best
        larger = min(4 * count, wanted, largest)
        if found is None or larger == count or time.monotonic() + (1 + TIMED) * larger / found.tried.rate > ended:
            break
        count = larger
    return _trial(batch, wanted, best, largest, is_measured=False)


def on_gpu(recipe: Recipe, device: torch.device, seconds: float) -> Trial:
    """The recipe's own batch, timed where it fits; and the largest that fits, tried where there is time for it.

    Memory grows in a straight line with the pictures, so that two trials tell about where it ends.
    """
    batch, wanted = _sizes(recipe)
    ended = time.monotonic() + seconds
    total = torch.cuda.mem_get_info(device)[1]
    few = _steps(recipe, min(FIRST, wanted), device, steps=2, searches=False)
    if few is None:
        return _trial(batch, wanted, None, 0)
    began = time.monotonic()
    own = _steps(recipe, wanted, device, steps=1 + TIMED)
    took = time.monotonic() - began
    if own is None:
        return _part_with_room(recipe, device, few, ended, total)
    more = own if wanted > few.at_a_time else _steps(recipe, 4 * FIRST, device, steps=2, searches=False) or own
    count = max(wanted, _predicted(few, more, total))
    while count > wanted and time.monotonic() + took < ended:
        if _steps(recipe, count, device, steps=2) is not None:
            return _trial(batch, wanted, own, count)
        count = max(wanted, _rounded(int(LESS * count)))
    return _trial(batch, wanted, own, count, is_measured=count == wanted)


def _part_with_room(recipe: Recipe, device: torch.device, few: Known, ended: float, total: int) -> Trial:
    """Where a recipe's own batch finds no room: the largest equal part of it that does."""
    batch, wanted = _sizes(recipe)
    more = _steps(recipe, min(MANY, wanted), device, steps=2, searches=False) or few
    predicted = min(wanted - 1, _predicted(few, more, total))
    for part in reversed([each for each in divisors(batch) if each <= predicted]):
        if time.monotonic() > ended:
            break
        found = _steps(recipe, part, device, steps=1 + TIMED)
        if found is not None:
            return _trial(batch, wanted, found, part)
        predicted = part - 1
    return _trial(batch, wanted, more, predicted, is_measured=False)


class Known(NamedTuple):
    """Steps that have found room."""

    at_a_time: int
    tried: Tried


def _sizes(recipe: Recipe) -> tuple[int, int]:
    """Pictures of a step, and those that go through the network at a time."""
    batch = settled(recipe.training.batch_size)
    return batch, batch // recipe.training.accumulate


def _steps(recipe: Recipe, count: int, device: torch.device, steps: int, searches: bool = True) -> Known | None:
    """Steps with so many pictures at a time, and in two parts where the recipe has several: codes come from all."""
    parts = min(2, recipe.training.accumulate)
    try:
        found = tried(recipe, count, count * parts, device, SPARE, steps, searches)
    except RuntimeError:  # such as a kernel that counts no further than 2^31
        return None
    return None if found is None else Known(count, found)


def _predicted(few: Known, more: Known, total: int) -> int:
    """Where the memory ends, a tenth of which is kept free in each trial."""
    if more.at_a_time == few.at_a_time:
        return few.at_a_time
    a_picture = max(1.0, (more.tried.most_bytes - few.tried.most_bytes) / (more.at_a_time - few.at_a_time))
    return _rounded(min(MOST, more.at_a_time + int((LIBRARIES * total - more.tried.most_bytes) / a_picture)))


def _rounded(count: int) -> int:
    return count // ROUNDED * ROUNDED if count > ROUNDED else count


def _trial(batch: int, wanted: int, best: Known | None, largest: int, is_measured: bool = True) -> Trial:
    part = max((each for each in divisors(batch) if each <= largest), default=0)
    return Trial(best.tried.rate if best else 0.0, best.at_a_time if best else 0, wanted, largest, is_measured, part)


# --- in a process of its own -----------------------------------------------------------------------------------------


def apart(recipe: Recipe, device: str, seconds: float, progress: Callable[[], object] = silent) -> Trial:
    """`on_gpu` in a process of its own, which ends with this one, however that ends.

    Args:
        device: by its name.
        progress: called now and then.

    Raises:
        ProcessFailed: with the reason.
    """
    told = recipe.model_dump(mode="json"), device, seconds
    return Trial(*in_own_process(_tried_there, told, 3 * seconds + WORST, progress))


def _tried_there(recipe: dict[str, object], device: str, seconds: float) -> tuple[object, ...]:
    return tuple(on_gpu(Recipe.model_validate(recipe), own_device(device), seconds))

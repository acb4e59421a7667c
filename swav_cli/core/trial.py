"""What true steps tell before a run: how many pictures a second, and how many find room at a time.

On CUDA in a process of its own, so that a GPU that is too small ends nothing but a trial.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

import torch

from swav_cli.core.device import own_device
from swav_cli.core.estimate import estimate, processor_bytes
from swav_cli.core.micro_batch import Tried, divisors, tried
from swav_cli.errors import silent
from swav_cli.recipe.schema import Recipe, settled

SPARE = 0.1  # of the memory, which stays free
FIRST = 4  # pictures of the first trial
TIMED = 3  # steps after the first one, in which kernels are looked for and libraries loaded
ROUNDED = 8  # largest batches are multiples of it
MOST = 65_536  # pictures at a time that are looked for
PATIENCE = 0.2  # seconds between two looks at a process
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
    best: Tried | None = None
    count = min(2, wanted)
    while largest >= count:
        found = _steps(recipe, count, device, steps=1 + TIMED)
        best = found or best
        larger = min(4 * count, wanted, largest)
        if found is None or larger == count or time.monotonic() + (1 + TIMED) * larger / found.rate > ended:
            break
        count = larger
    return _trial(batch, wanted, best, largest, is_measured=False)


def on_gpu(recipe: Recipe, device: torch.device, seconds: float) -> Trial:
    """The recipe's own batch, timed where it fits; and the largest that fits, tried.

    Memory grows in a straight line with the pictures, so that two small trials tell about where it ends.
    """
    batch, wanted = _sizes(recipe)
    ended = time.monotonic() + seconds
    total = torch.cuda.mem_get_info(device)[1]
    few = _steps(recipe, min(FIRST, wanted), device, steps=2)
    if few is None:
        return _trial(batch, wanted, None, 0)
    more = (_steps(recipe, min(4 * FIRST, wanted), device, steps=2) if wanted > FIRST else None) or few
    best = _steps(recipe, wanted, device, steps=1 + TIMED) if wanted > more.pictures else more
    known = best or more
    largest, count = known.pictures, _predicted(few, known, total)
    if best is None:
        count = min(count, _rounded(wanted - 1))
    while count > largest and time.monotonic() < ended:
        found = _steps(recipe, count, device, steps=2)
        if found is not None:
            largest, best = count, best or found
            break
        count = _rounded(int(0.93 * count))
    return _trial(batch, wanted, best or known, largest)


def _sizes(recipe: Recipe) -> tuple[int, int]:
    """Pictures of a step, and those that go through the network at a time."""
    batch = settled(recipe.training.batch_size)
    return batch, batch // recipe.training.accumulate


def _steps(recipe: Recipe, count: int, device: torch.device, steps: int) -> Tried | None:
    """Steps with so many pictures at a time, and in two parts where the recipe has several: codes come from all."""
    parts = min(2, recipe.training.accumulate)
    try:
        return tried(recipe, count, count * parts, device, SPARE, steps)
    except RuntimeError:  # such as a kernel that counts no further than 2^31
        return None


def _predicted(few: Tried, more: Tried, total: int) -> int:
    """Where the memory ends, of a tenth of which nothing is used in any trial."""
    if more.pictures == few.pictures:
        return 0
    a_picture = max(1.0, (more.most_bytes - few.most_bytes) / (more.pictures - few.pictures))
    return _rounded(min(MOST, more.pictures + int((0.98 * total - more.most_bytes) / a_picture)))


def _rounded(count: int) -> int:
    return count // ROUNDED * ROUNDED if count > ROUNDED else count


def _trial(batch: int, wanted: int, best: Tried | None, largest: int, is_measured: bool = True) -> Trial:
    part = max((each for each in divisors(batch) if each <= largest), default=0)
    return Trial(best.rate if best else 0.0, best.pictures if best else 0, wanted, largest, is_measured, part)


# --- in a process of its own -----------------------------------------------------------------------------------------


class TrialFailed(Exception):
    """The process of a trial ended without a word, or did not end."""


def apart(recipe: Recipe, device: str, seconds: float, progress: Callable[[], object] = silent) -> Trial:
    """`on_gpu` in a process of its own, which ends with this one, however that ends.

    Args:
        device: by its name.
        progress: called now and then.

    Raises:
        TrialFailed: with the reason.
    """
    context = multiprocessing.get_context("spawn")  # a GPU does not outlive a fork
    here, there = context.Pipe(duplex=False)
    process = context.Process(
        target=_answer, args=(there, recipe.model_dump(mode="json"), device, seconds), daemon=True
    )
    process.start()
    there.close()
    patience = time.monotonic() + 3 * seconds + WORST
    try:
        while not here.poll(PATIENCE):
            progress()
            if time.monotonic() > patience:
                raise TrialFailed("it took too long")
        answer = here.recv()
    except EOFError:
        process.join(PATIENCE)
        raise TrialFailed(f"its process ended with exit code {process.exitcode}") from None
    finally:
        process.kill()
        process.join()
        here.close()
    if isinstance(answer, str):
        raise TrialFailed(answer)
    return Trial(*answer)


def _answer(told: Connection, recipe: dict[str, object], device: str, seconds: float) -> None:
    """What the process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the other ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        told.send(tuple(on_gpu(Recipe.model_validate(recipe), own_device(device), seconds)))
    except Exception as error:  # told by the other process
        told.send(str(error).splitlines()[0] if str(error) else type(error).__name__)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)

"""How long work on a device takes."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import torch


def wait(device: torch.device) -> None:
    """Until the device has done all that it was told to; a processor has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def laps(
    work: Callable[[], object],
    device: torch.device,
    most: int,
    seconds: float = math.inf,
    alone: bool = True,
) -> list[float]:
    """Seconds that the work takes, time after time.

    >>> len(laps(lambda: sum(range(100)), torch.device("cpu"), most=3))
    3

    Args:
        most: times.
        seconds: after which it is not begun again; it is done once in any case.
        alone: the device is waited for before and after each. False: the work itself waits, and what it leaves to be
            done runs beside the next, as steps of training do.
    """
    ended = time.perf_counter() + seconds
    found: list[float] = []
    while not found or (len(found) < most and time.perf_counter() < ended):
        if alone:
            wait(device)
        began = time.perf_counter()
        work()
        if alone:
            wait(device)
        found.append(time.perf_counter() - began)
    return found


def median_seconds(work: Callable[[], object], device: torch.device, most: int, seconds: float = math.inf) -> float:
    """The middle one of such laps, by itself."""
    return statistics.median(laps(work, device, most, seconds))

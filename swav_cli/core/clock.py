"""How long steps take, and how much of that is waiting for pictures."""

from __future__ import annotations

import time
from typing import NamedTuple


class Lap(NamedTuple):
    rate: float  # pictures a second, smoothed
    waiting: float  # share of the time, smoothed


class Clock:
    """Times one step after another."""

    def __init__(self) -> None:
        self._rate, self._share, self._waited = 0.0, 0.0, 0.0
        self._laps = 0
        self._start = time.monotonic()

    def restart(self) -> None:
        """Leave out what was not training: evaluation, saving."""
        self._start, self._waited = time.monotonic(), 0.0

    def waiting(self) -> Clock:
        return self

    def __enter__(self) -> None:
        self._wait_from = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._waited += time.monotonic() - self._wait_from

    def tick(self, pictures: int) -> Lap:
        now = time.monotonic()
        seconds = max(now - self._start, 1e-9)
        rate, share = pictures / seconds, self._waited / seconds
        # The first step, in which kernels are looked for, says nothing of the others: the second begins anew.
        self._laps += 1
        weight = 0.1 if self._laps > 2 else 1.0
        self._rate += weight * (rate - self._rate)
        self._share += weight * (share - self._share)
        self._start, self._waited = now, 0.0
        return Lap(self._rate, self._share)

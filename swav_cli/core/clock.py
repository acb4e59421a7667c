"""How long steps take, and how much of that is waiting for pictures."""

from __future__ import annotations

import time
from typing import NamedTuple


class Lap(NamedTuple):
    rate: float  # pictures a second, smoothed
    waiting: float  # share of the time, smoothed


class Clock:
    """Times one step after another: from `start` to `stop`, whatever is done in between two of them."""

    def __init__(self) -> None:
        self._rate, self._share = 0.0, 0.0
        self._laps = 0

    def start(self) -> None:
        self._began = time.monotonic()

    def has_come(self) -> None:
        """The pictures of the step, for which it has waited until now, are there."""
        self._waited = time.monotonic() - self._began

    def stop(self, pictures: int) -> Lap:
        seconds = max(time.monotonic() - self._began, 1e-9)
        rate, share = pictures / seconds, self._waited / seconds
        # The first step, in which kernels are looked for, says nothing of the others: the second begins anew.
        self._laps += 1
        weight = 0.1 if self._laps > 2 else 1.0
        self._rate += weight * (rate - self._rate)
        self._share += weight * (share - self._share)
        return Lap(self._rate, self._share)

"""What a clock tells of steps: the first one, in which kernels are looked for, is no measure of the others."""

from __future__ import annotations

import pytest

from swav_cli.core import clock as module
from swav_cli.core.clock import Clock, Lap


def test_the_first_step_has_no_part_in_the_rate_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    clock = Clock()

    def step(waiting: float, computing: float) -> Lap:
        nonlocal now
        now += 100  # between steps: a checkpoint is saved
        clock.start()
        now += waiting
        clock.has_come()
        now += computing
        return clock.stop(256)

    assert step(0.0, 36.0).rate == pytest.approx(256 / 36)
    assert step(0.0, 0.2).rate == pytest.approx(1280)
    found = step(0.2, 0.0)  # from here on smoothed
    assert found.rate == pytest.approx(1280)
    assert found.waiting == pytest.approx(0.1)

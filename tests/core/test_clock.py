"""What a clock tells of steps: the first one, in which kernels are looked for, is no measure of the others."""

from __future__ import annotations

import pytest

from swav_cli.core import clock as module
from swav_cli.core.clock import Clock


def test_the_first_step_has_no_part_in_the_rate_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    clock = Clock()
    now = 36.0
    assert clock.tick(256).rate == pytest.approx(256 / 36)
    now += 0.2
    assert clock.tick(256).rate == pytest.approx(1280)
    with clock.waiting():
        now += 0.2
    found = clock.tick(256)  # from here on smoothed
    assert found.rate == pytest.approx(1280)
    assert found.waiting == pytest.approx(0.1)

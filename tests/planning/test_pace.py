"""Reading against training: which of the two sets the pace."""

from __future__ import annotations

import pytest
import torch

from swav_cli.data.reading import limits as reading_limits
from swav_cli.data.sources import open_pictures
from swav_cli.planning import pace as paces
from swav_cli.planning.pace import Pace, Reading, measure_reading, pace_of
from tests.conftest import tiny_recipe

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def reads(rate: float, in_memory: bool = False) -> Reading:
    return Reading(rate, in_memory, 10_000_000, 4)


@pytest.mark.parametrize(
    ("reading", "training", "device", "wanted", "pace"),
    [
        (reads(300), 3000, GPU, "auto", Pace(3000, "training", 15, 10)),
        (reads(300), 6000, GPU, "auto", Pace(4500, "reading", 15, 20)),
        (reads(300), 3000, GPU, 4, Pace(1200, "reading", 4, 10)),
        (reads(1000), 100, CPU, "auto", Pace(1 / (1 / 100 + 1 / 16_000), "training", 2, 2)),
        (reads(100, in_memory=True), 100, CPU, "auto", Pace(50, "training", 0, 0)),  # one process does both
        (reads(10, in_memory=True), 100, CPU, "auto", Pace(1 / (1 / 100 + 1 / 10), "reading", 0, 0)),
    ],
)
def test_the_slower_sets_the_pace(
    monkeypatch: pytest.MonkeyPatch,
    reading: Reading,
    training: float,
    device: torch.device,
    wanted: int | str,
    pace: Pace,
) -> None:
    monkeypatch.setattr(paces, "own_processors", lambda: 16)
    monkeypatch.setattr(paces, "spare_processors", lambda device: 2 if device.type == "cpu" else 15)
    found = pace_of(reading, training, device, wanted)
    assert found == pace._replace(rate=pytest.approx(pace.rate))


def test_reading_is_measured_as_the_recipe_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_limits, "processors_allowed", lambda: 1)
    pictures, recipe = open_pictures("shapes:16"), tiny_recipe()
    threads = torch.get_num_threads()
    kept = measure_reading(recipe, pictures, True, 0.05)
    drawn = measure_reading(recipe, pictures, False, 0.05)
    assert (kept.in_memory, drawn.in_memory) == (True, False)
    assert kept.rate > drawn.rate > 0
    assert kept.seconds_once > drawn.seconds_once == 0
    assert kept.bytes_a_picture == 2 * 3 * 16 * 16 + 3 * 8 * 8 + 3 * 11 * 4 + 8
    assert torch.get_num_threads() == threads

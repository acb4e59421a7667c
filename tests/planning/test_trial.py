"""How many pictures find room, and how quick steps are: told by trials on a GPU that is made up, and by true ones."""

from __future__ import annotations

import multiprocessing
from typing import Any

import pytest
import torch

from swav_cli.planning import trial
from swav_cli.planning.micro_batch import Tried
from swav_cli.planning.own_process import ProcessFailed
from swav_cli.planning.trial import apart, on_gpu, on_processor
from swav_cli.recipe.schema import Recipe
from tests.conftest import tiny_recipe

CPU, GPU = torch.device("cpu"), torch.device("cuda")
TOTAL, WEIGHTS, A_PICTURE = 1_000_000, 60_000, 1_000  # bytes of a GPU that is made up


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What was tried on a GPU on which memory grows in a straight line, and a little more for many pictures."""
    found: list[int] = []

    def made_up(recipe: Recipe, count: int, own: int, *how: Any) -> Tried | None:
        _, spare, steps, _ = how
        found.append(count)
        taken = int(WEIGHTS + A_PICTURE * count * (1.05 if count > 500 else 1) + spare * TOTAL)
        return Tried(own, (1.0, *[own / 1000] * (steps - 1)), taken) if taken <= TOTAL else None

    monkeypatch.setattr(trial, "tried", made_up)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (TOTAL, TOTAL))
    return found


def test_the_largest_batch_is_predicted_and_then_tried(counts: list[int]) -> None:
    found = on_gpu(tiny_recipe("training.batch_size=64", "loss.queue.length=64"), GPU, 60)
    assert (found.fits, found.wanted, found.timed, found.rate, found.micro_batch) == (True, 64, 64, 1000.0, 64)
    assert 0.85 * 800 <= found.largest <= 800  # (1,000,000 - 100,000 - 60,000) / 1,050
    assert found.largest % 8 == 0
    assert found.is_measured
    assert counts[:2] == [4, 64]
    assert len(counts) <= 4


def test_a_batch_in_parts_is_counted_by_what_goes_through_at_a_time(counts: list[int]) -> None:
    found = on_gpu(tiny_recipe("training.batch_size=128", "training.accumulate=2", "loss.queue.length=0"), GPU, 60)
    assert (found.wanted, found.timed) == (64, 64)
    assert 0.85 * 800 <= found.largest <= 800


def test_a_batch_that_does_not_fit_leads_to_the_largest_part_that_does(counts: list[int]) -> None:
    recipe = tiny_recipe("training.batch_size=4096", "loss.queue.length=0")
    found = on_gpu(recipe, GPU, 60)
    assert not found.fits
    assert found.timed == found.largest == found.micro_batch == 512
    assert found.is_measured
    assert counts == [4, 4096, 64, 512]


def test_without_time_the_largest_is_an_estimate(counts: list[int]) -> None:
    found = on_gpu(tiny_recipe("training.batch_size=64", "loss.queue.length=64"), GPU, 0)
    assert (found.timed, found.is_measured) == (64, False)
    assert found.largest == 808
    found = on_gpu(tiny_recipe("training.batch_size=4096", "loss.queue.length=0"), GPU, 0)
    assert (found.timed, found.largest, found.micro_batch, found.is_measured) == (64, 808, 512, False)


def test_a_gpu_without_room_for_the_fewest(counts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "tried", lambda *_: None)
    found = on_gpu(tiny_recipe(), GPU, 60)
    assert (found.rate, found.largest, found.micro_batch, found.fits) == (0.0, 0, 0, False)


def test_on_a_processor_true_steps_are_timed_and_room_is_estimated() -> None:
    recipe = tiny_recipe()
    found = on_processor(recipe, CPU, 60, free=4e9)
    assert (found.timed, found.wanted, found.fits, found.is_measured) == (8, 8, True, False)
    assert found.rate > 0
    less = on_processor(recipe, CPU, 0, free=2e9)
    assert less.timed == 2  # no time for more
    assert 8 < less.largest < found.largest
    assert on_processor(recipe, CPU, 60, free=1e8).rate == 0  # nothing is begun where there is no room


def test_a_process_of_its_own_tells_what_went_wrong_and_is_gone() -> None:
    with pytest.raises(ProcessFailed, match="--device cuda:0: not on this machine"):
        apart(tiny_recipe(), "cuda:0", 1)
    assert multiprocessing.active_children() == []


def test_a_process_of_its_own_ends_where_this_one_is_stopped() -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apart(tiny_recipe(), "cuda:0", 1, progress=stopped)
    assert multiprocessing.active_children() == []

"""Parts of a batch: equal ones, the largest that fits, and refusals that say what would do."""

from __future__ import annotations

import pytest
import torch

from swav_cli.core import micro_batch
from swav_cli.core.micro_batch import fits, in_micro_batches, largest_that_fits
from swav_cli.errors import UserError
from tests.conftest import tiny_recipe

CPU = torch.device("cpu")


@pytest.mark.parametrize(("wanted", "parts"), [(2, 4), (4, 2), (8, 1), (100, 1)])
def test_a_number_becomes_parts(wanted: int, parts: int) -> None:
    recipe, found = in_micro_batches(tiny_recipe(), wanted, CPU)
    assert recipe.training.accumulate == found.value == parts
    assert recipe.training.batch_size == 8


@pytest.mark.parametrize(("wanted", "near"), [(3, 2), (5, 4), (7, 4)])
def test_unequal_parts_are_refused_with_what_would_do(wanted: int, near: int) -> None:
    with pytest.raises(UserError, match=f"no equal parts of {wanted}, .* try --micro-batch {near}"):
        in_micro_batches(tiny_recipe(), wanted, CPU)


def test_synchronised_norms_are_refused_with_the_reason() -> None:
    with pytest.raises(UserError, match="exclude"):
        in_micro_batches(tiny_recipe("training.sync_batchnorm=true"), 4, CPU)


def test_auto_needs_a_gpu() -> None:
    with pytest.raises(UserError, match="give a number on this device"):
        in_micro_batches(tiny_recipe(), "auto", CPU)


@pytest.mark.parametrize(("room", "found"), [(1000, 96), (95, 48), (5, 4), (2, 2), (1, 0)])
def test_the_largest_that_fits(room: int, found: int) -> None:
    tried: list[int] = []

    def has_room(count: int) -> bool:
        tried.append(count)
        return count <= room

    assert largest_that_fits(96, has_room) == found
    assert tried == sorted(tried, reverse=True)


def test_a_step_of_made_up_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fits(tiny_recipe(), 4, CPU)

    def full(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("full")

    monkeypatch.setattr(micro_batch, "swapped_prediction", full)
    assert not fits(tiny_recipe(), 4, CPU)

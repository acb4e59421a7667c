"""A run planned to a time, on machines that are made up."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from swav_cli.errors import UserError
from swav_cli.planning.budget import RESERVE, Speed, Wish, as_planned, plan_to, times
from swav_cli.planning.derive import with_value
from swav_cli.recipe.file import load_recipe
from swav_cli.recipe.schema import Recipe

FOLDER = load_recipe("small-folder")


def machine(rate: float, reading: float = 0.0, asked: list[int] | None = None) -> Callable[[Recipe], Speed]:
    """Trains so many pictures a second with the recipe's own network, and more with a smaller one."""

    def speed_of(recipe: Recipe) -> Speed:
        if asked is not None:
            asked.append(recipe.model.width)
        training = rate * (64 / recipe.model.width) ** 1.5 * (128 / recipe.crops[0].size) ** 2
        whole = 1 / (1 / training + reading)
        return Speed(whole, 0.2 / training, 1 - whole / training)

    return speed_of


def plan(recipe: Recipe, minutes: float, rate: float = 25, n: int = 1000, **more: Any) -> tuple[Recipe, dict[str, Any]]:
    found, derived = plan_to(recipe, Wish(minutes, n, **more), machine(rate))
    return found, {each.key: each.value for each in derived}


@pytest.mark.parametrize(
    ("minutes", "width", "size"), [(2, 16, 64), (10, 32, 64), (30, 32, 96), (60, 64, 96), (90, 64, 128)]
)
def test_the_more_minutes_the_larger_the_network_and_all_of_them_are_used(minutes: int, width: int, size: int) -> None:
    recipe, derived = plan(FOLDER, minutes)
    assert (recipe.model.width, recipe.crops[0].size) == (width, size)
    epochs = recipe.training.epochs
    assert epochs != "auto"
    assert minutes == 2 or epochs >= 100  # half of the usual 200
    needed = [times(recipe, each, Wish(minutes, 1000), machine(25)(recipe)).total / 60 for each in (epochs, epochs + 1)]
    assert needed[0] <= (1 - RESERVE) * minutes < needed[1]
    assert derived["training.minutes"] == recipe.training.minutes == minutes


def test_what_is_set_is_held_and_the_rest_is_planned_around_it() -> None:
    recipe, derived = plan(FOLDER, 10, held=["model.width"])
    assert (recipe.model.width, recipe.crops[0].size) == (64, 64)
    assert "model.width" not in derived
    epochs = with_value(FOLDER, "training.epochs", 50)
    recipe, derived = plan(epochs, 10, held=["training.epochs"])
    assert recipe.training.epochs == 50
    assert (recipe.model.width, recipe.crops[0].size) == (32, 96)
    assert "training.epochs" not in derived
    with pytest.raises(UserError, match=r"--minutes 10: 50 epochs of what is asked for, .* give --minutes 37 or more"):
        plan(epochs, 10, held=["training.epochs", "model", "crops"])


def test_judging_is_counted_and_kept_rare() -> None:
    judged = with_value(FOLDER, "data.val", "val")
    without, _ = plan(FOLDER, 10)
    recipe, derived = plan(judged, 10, bank=1000, queries=4000)
    assert int(recipe.training.epochs) < int(without.training.epochs)
    assert derived["evaluation.knn_every"] >= int(recipe.training.epochs) / 5
    assert plan(judged, 10, bank=1000, queries=1000, held=["evaluation.knn_every"])[0].evaluation.knn_every == 10


def test_a_course_is_fitted_into_fewer_epochs() -> None:
    published = load_recipe("in1k-200e")
    recipe, derived = plan(published, 60, rate=300, n=100_000)
    assert int(recipe.training.epochs) < 200
    assert int(recipe.loss.queue.start_epoch) < int(recipe.training.epochs)
    assert derived["loss.freeze_prototypes_steps"] < 5005
    recipe, derived = plan(FOLDER, 1, n=10_000)
    assert (derived["training.batch_size"], derived["training.epochs"]) == (64, 4)
    assert recipe.schedule.warmup_epochs == 0.4


def test_more_time_than_helps_is_not_used() -> None:
    recipe, _ = plan(FOLDER, 100_000)
    assert (recipe.model.width, recipe.training.epochs) == (64, 1000)


def test_where_reading_takes_the_time_the_network_is_not_made_smaller_for_nothing() -> None:
    recipe, derived = plan_to(FOLDER, Wish(10, 1000), machine(2500, reading=0.05))
    assert (recipe.model.width, recipe.crops[0].size) == (64, 128)
    assert "of it reading" in derived[0].reason


def test_on_a_gpu_the_recipes_own_network_is_tried_first() -> None:
    asked: list[int] = []
    plan_to(FOLDER, Wish(10, 1000), machine(2500, asked=asked), from_above=True)
    assert asked == [64]
    plan_to(FOLDER, Wish(10, 1000), machine(25, asked=asked), from_above=True)
    assert asked == [64, 64, 16, 32, 32]


def test_too_little_time_for_anything_tells_the_least_that_would_do() -> None:
    with pytest.raises(UserError) as refused:
        plan(FOLDER, 1, n=500_000)
    told = re.search(r"takes ([\d.]+) minutes .* --minutes (\d+) or more, or .*data.limit=(\d+)", str(refused.value))
    assert told is not None
    assert "\n" not in str(refused.value)
    recipe, _ = plan(FOLDER, int(told[2]), n=500_000)
    assert int(recipe.training.epochs) == 1
    plan(FOLDER, 1, n=int(told[3]))


def test_a_plan_that_was_made_is_kept() -> None:
    begun, _ = plan(FOLDER, 10)
    assert as_planned(FOLDER, begun, ()) == begun
    assert as_planned(with_value(FOLDER, "model.width", 48), begun, ["model.width"]).model.width == 48

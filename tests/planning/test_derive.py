"""What `auto` becomes for folders of four sizes, and what pictures and recipe can not both mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.pictures import Pictures
from swav_cli.errors import UserError
from swav_cli.planning.derive import SAMPLE_FOR_STATISTICS, Derived, derive, measure_statistics
from swav_cli.recipe.file import dump_recipe, load_recipe, parse_recipe
from swav_cli.recipe.schema import Recipe

CPU = torch.device("cpu")


class Counted(Pictures):
    """So many pictures, of one colour each; what was read is kept."""

    def __init__(self, count: int, channels: int = 3, side: int = 4) -> None:
        self.count, self.channels, self.side, self.source = count, channels, side, "counted"
        self.was_read: list[int] = []

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Tensor:
        self.was_read.append(index)
        return torch.full((self.channels, self.side, self.side), 51 if index % 2 else 204, dtype=torch.uint8)


def settled(count: int, *overrides: str, recipe: str = "small-folder") -> tuple[Recipe, dict[str, Derived]]:
    result, derived = derive(load_recipe(recipe, list(overrides)), Counted(count), CPU)
    return result, {value.key: value for value in derived}


def refusal(count: int, *overrides: str, recipe: str = "small-folder") -> str:
    pictures = Counted(count)
    with pytest.raises(UserError) as caught:
        derive(load_recipe(recipe, list(overrides)), pictures, CPU)
    assert not pictures.was_read  # nothing is measured for a run that can't be
    return str(caught.value)


SIZES: dict[int, dict[str, Any]] = {
    100: {
        "training.batch_size": 16, "training.epochs": 200, "model.prototypes": 30, "loss.queue.length": 16,
        "loss.queue.start_epoch": 20, "loss.freeze_prototypes_steps": 0, "optimizer.lr": 0.4,
    },
    1_000: {
        "training.batch_size": 64, "training.epochs": 200, "model.prototypes": 100, "loss.queue.length": 64,
        "loss.queue.start_epoch": 20, "loss.freeze_prototypes_steps": 0, "optimizer.lr": 0.4,
    },
    50_000: {
        "training.batch_size": 256, "training.epochs": 50, "model.prototypes": 3000, "loss.queue.length": 2816,
        "loss.queue.start_epoch": 5, "loss.freeze_prototypes_steps": 0, "optimizer.lr": 0.4,
    },
    1_281_167: {
        "training.batch_size": 256, "training.epochs": 50, "model.prototypes": 3000, "loss.queue.length": 2816,
        "loss.queue.start_epoch": 5, "loss.freeze_prototypes_steps": 5004, "optimizer.lr": 0.4,
    },
}  # fmt: skip


@pytest.mark.parametrize("count", SIZES)
def test_auto_follows_from_the_number_of_pictures(count: int) -> None:
    _, derived = settled(count)
    assert {key: derived[key].value for key in SIZES[count]} == SIZES[count]


@pytest.mark.parametrize("count", SIZES)
def test_a_settled_recipe_leaves_nothing_open_that_changes_the_result(count: int) -> None:
    recipe, derived = settled(count)
    lines = dump_recipe(recipe).splitlines()
    assert [line.strip() for line in lines if "auto" in line] == ["cache: auto", "workers: auto"]
    for key, value in derived.items():
        place: Any = recipe
        for step in key.split("."):
            place = getattr(place, step)
        assert place == value.value


def test_each_value_has_its_reason() -> None:
    _, derived = settled(1_000)
    reasons = {key: value.reason for key, value in derived.items()}
    precision = reasons.pop("training.precision")
    assert "cpu" in precision
    assert reasons.pop("training.compile").startswith("on a processor")
    assert reasons == {
        "training.batch_size": "the power of two up to an eighth of 1,000 pictures, at least 16 and at most 256",
        "training.epochs": "200 up to 2,000 pictures, 100 up to 20,000, else 50; there are 1,000",
        "model.prototypes": "one for ten of 1,000 pictures, at least 30 and at most 3,000",
        "loss.queue.length": "whole batches of 64 up to 100 prototypes, at most a quarter of 1,000 pictures",
        "loss.queue.start_epoch": "a tenth of 200 epochs: embeddings change too fast at first to be kept",
        "loss.freeze_prototypes_steps": "none below 100,000 pictures, where it was found to do harm",
        "optimizer.lr": "per 256 pictures, the best of what was tried on small data",
        "data.mean": "measured on 500 pictures",
        "data.std": "measured on 500 pictures",
    }


def test_what_the_user_set_is_left_alone_and_the_rest_follows_it() -> None:
    recipe, derived = settled(1_000, "training.batch_size=100", "model.prototypes=300", "training.epochs=5")
    assert not {"training.batch_size", "model.prototypes", "training.epochs"} & set(derived)
    assert recipe.loss.queue == type(recipe.loss.queue)(length=200, start_epoch=1)


def test_a_settled_recipe_is_settled_already() -> None:
    recipe, _ = settled(1_000)
    again, derived = derive(recipe, Counted(1_000), CPU)
    assert (again, derived) == (recipe, [])


@pytest.mark.parametrize(
    ("overrides", "key", "value", "reason"),
    [
        (["model.prototypes=64"], "loss.queue.length", 0, "none: a batch of 64 reaches for 64 prototypes"),
        (["model.prototypes=64"], "loss.queue.start_epoch", 0, "there is no queue"),
        (["optimizer.name=lars"], "optimizer.lr", 0.6, "as published for batches of 256"),
        (["optimizer.name=adamw"], "optimizer.lr", 0.001, "usual for adamw"),
    ],
)
def test_cases_of_a_thousand_pictures(overrides: list[str], key: str, value: float, reason: str) -> None:
    found = settled(1_000, *overrides)[1][key]
    assert found.value == value
    assert reason in found.reason


def test_a_large_batch_has_the_rate_of_the_published_large_batch() -> None:
    recipe, _ = settled(1_281_167, "optimizer.name=lars", "training.batch_size=4096")
    assert recipe.optimizer.lr == 0.3
    assert recipe.loss.freeze_prototypes_steps == 312


@pytest.mark.parametrize("count", [16, 17, 31, 100, 999, 100_000, 1_281_167])
@pytest.mark.parametrize("epochs", [1, 2, 9])
def test_auto_never_contradicts_itself(count: int, epochs: int) -> None:
    recipe, _ = settled(count, f"training.epochs={epochs}")
    assert int(recipe.loss.queue.start_epoch) < epochs
    assert int(recipe.loss.freeze_prototypes_steps) < count // int(recipe.training.batch_size) * epochs


# --- statistics --------------------------------------------------------------------------------------------------


def test_mean_and_deviation_are_measured() -> None:
    recipe, _ = settled(1_000)
    assert recipe.data.mean == pytest.approx([0.5] * 3, abs=0.03)
    assert recipe.data.std == pytest.approx([0.3] * 3, abs=0.01)


def test_only_what_says_auto_is_measured() -> None:
    recipe, derived = settled(100, "data.mean=[0.1, 0.2, 0.3]")
    assert recipe.data.mean == [0.1, 0.2, 0.3]
    assert "data.std" in derived
    assert "data.mean" not in derived


def test_a_part_of_many_pictures_is_measured_and_always_the_same() -> None:
    pictures, again = Counted(10_000, channels=1, side=600), Counted(10_000, channels=1)
    assert measure_statistics(pictures) == measure_statistics(again)
    assert pictures.was_read == again.was_read == sorted(set(pictures.was_read))
    assert len(pictures.was_read) == SAMPLE_FOR_STATISTICS


def test_pictures_in_turns_are_all_seen() -> None:
    """Kinds that come in turns, as those of `shapes` do, are not met one kind alone."""
    pictures = Counted(5_000)
    measure_statistics(pictures)
    assert {index % 10 for index in pictures.was_read} == set(range(10))


def test_statistics_agree_with_all_pixels_at_once() -> None:
    class Noise(Counted):
        def read(self, index: int) -> Tensor:
            return torch.from_numpy(np.random.default_rng(index).integers(0, 256, (3, 8, 9), dtype=np.uint8))

    pixels = torch.stack([Noise(20).read(index) for index in range(20)]).double() / 255
    mean, std = measure_statistics(Noise(20))
    assert mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist(), abs=1e-4)
    assert std == pytest.approx(pixels.std(dim=(0, 2, 3), correction=0).tolist(), abs=1e-4)


def test_unreadable_pictures_are_passed_over_unless_all_are() -> None:
    class Spoilt(Counted):
        def read(self, index: int) -> Tensor:
            if index != self.count - 1:
                raise BadPicture(f"{index}: broken")
            return super().read(index)

    class Ruined(Counted):
        def read(self, index: int) -> Tensor:
            raise BadPicture(f"{index}: broken")

    assert measure_statistics(Spoilt(10))[0] == [0.2, 0.2, 0.2]
    with pytest.raises(UserError, match="counted: none of the pictures tried can be read"):
        measure_statistics(Ruined(10))


def test_pictures_of_one_colour_can_be_normalised() -> None:
    class White(Counted):
        def read(self, index: int) -> Tensor:
            return torch.full((3, 4, 4), 255, dtype=torch.uint8)

    recipe, _ = derive(load_recipe("small-folder"), White(100), CPU)
    assert min(map(float, recipe.data.std)) > 0


# --- contradictions ----------------------------------------------------------------------------------------------


def test_five_pictures() -> None:
    assert "5 pictures are too few to learn from (training.batch_size is 16)" in refusal(5)
    settled(5, "training.batch_size=4")  # who insists may


@pytest.mark.parametrize(
    ("count", "recipe", "overrides", "said"),
    [
        (200, "cifar10", ["training.batch_size=256"],
         "training.batch_size (256) is larger than the number of pictures (200); try --batch-size 16"),
        (1_000, "small-folder", ["loss.freeze_prototypes_steps=3000"],
         "loss.freeze_prototypes_steps (3000) is not shorter than the run (3,000 steps: 200 epochs of 15)"),
        (1_000, "in1k-100e-bs4096", ["training.batch_size=256"],
         "loss.freeze_prototypes_steps (313) is not shorter than the run (300 steps: 100 epochs of 3)"),
        (3_000, "in1k-200e", [],
         "loss.queue.length (3840) is longer than the data (3000 pictures)"),
        (1_000, "small-folder", ["loss.queue.length=640", "loss.queue.start_epoch=1", "training.epochs=2"],
         "loss.queue.length (640) from loss.queue.start_epoch (1) is full only at step 25 of 30"),
        (1_000, "small-folder", ["loss.queue.length=20"],
         "with training.batch_size = 64: loss.queue.length (20) is shorter than training.batch_size (64)"),
        (1_000, "small-folder", ["training.accumulate=3"],
         "with training.batch_size = 64: training.batch_size (64) does not divide into training.accumulate (3)"),
        (1_000, "small-folder", ["schedule.warmup_epochs=300"],
         "with training.epochs = 200: schedule.warmup_epochs (300) is longer than training.epochs (200)"),
        (1_000, "small-folder", ["objective=deepcluster2", "model.prototypes=990"],
         "model.prototypes (990) are more than the pictures of an epoch (960), from which k-means begins"),
    ],
)  # fmt: skip
def test_pictures_and_recipe_contradict(count: int, recipe: str, overrides: list[str], said: str) -> None:
    if "full only" in said:
        settled(count, *overrides, recipe=recipe)  # full at step 25, and part of five steps
        overrides = [*overrides, "loss.queue.length=960"]
        said = "loss.queue.length (960) from loss.queue.start_epoch (1) is full only at step 30 of 30"
    message = refusal(count, *overrides, recipe=recipe)
    assert message.startswith(f"recipe '{recipe}'")
    assert said in message


def test_all_contradictions_with_the_pictures_are_told() -> None:
    message = refusal(2_560, "training.epochs=16", "training.batch_size=256", recipe="in1k-200e")
    assert len(message.splitlines()) == 2


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_advice_about_freezing_works(epochs: int) -> None:
    overrides = [f"training.epochs={epochs}", "loss.freeze_prototypes_steps=99", "loss.queue.length=0"]
    advice = refusal(1_000, *overrides).rpartition("--set ")[2]
    settled(1_000, *overrides, advice)


def test_the_advice_about_the_batch_works() -> None:
    advice = refusal(100, recipe="cifar10").rpartition("--batch-size ")[2]
    settled(100, f"training.batch_size={advice}", recipe="cifar10")


def test_a_recipe_without_auto_needs_no_pictures_to_be_read() -> None:
    pictures = Counted(50_000)
    recipe, derived = derive(load_recipe("cifar10"), pictures, CPU)
    assert not pictures.was_read
    assert [value.key for value in derived] == ["training.precision", "training.compile"]
    assert parse_recipe(recipe.model_dump(mode="json"), "again") == recipe

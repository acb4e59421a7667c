"""What a recipe refuses: wrong kinds, and values that deny one another."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from swav_cli.errors import UserError
from swav_cli.recipe.file import apply_override, parse_recipe
from swav_cli.recipe.schema import Recipe
from swav_cli.recipe.sections import CropRecipe
from tests.conftest import TINY, tiny_recipe


def refusal(*overrides: str) -> list[str]:
    """The lines with which a recipe with these changes is refused."""
    content = copy.deepcopy(TINY)
    for assignment in overrides:
        apply_override(content, assignment)
    with pytest.raises(UserError) as caught:
        parse_recipe(content, "tiny.yaml")
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert message.startswith("tiny.yaml: ")
    return [line.strip() for line in message.removeprefix("tiny.yaml: ").splitlines()]


KINDS = [
    ("training.epochs=0", "training.epochs = 0: should be a whole number from 1, or auto"),
    ("training.epochs=1.5", "training.epochs = 1.5: should be a whole number from 1, or auto"),
    ("training.epochs=many", "training.epochs = 'many': should be a whole number from 1, or auto"),
    ("training.epochs=null", "training.epochs = null: should be a whole number from 1, or auto"),
    ("training.epochs=true", "training.epochs = true: should be a whole number from 1, or auto"),
    ("training.epochs=[1,2]", "training.epochs = [1, 2]: should be a whole number from 1, or auto"),
    ("training.accumulate=true", "training.accumulate = true: should be a whole number from 1"),
    ("loss.epsilon=true", "loss.epsilon = true: should be a number from 0.01"),
    ("loss.epsilon=0.001", "loss.epsilon = 0.001: should be a number from 0.01"),
    ("loss.epsilon=.nan", "loss.epsilon = nan: should be a number from 0.01"),
    ("optimizer.lr=.inf", "optimizer.lr = inf: should be a number above 0, or auto"),
    ("optimizer.momentum=1", "optimizer.momentum = 1: should be a number from 0 to below 1"),
    ("optimizer.name=adam", "optimizer.name = 'adam': should be lars, sgd or adamw"),
    ("objective=deepcluster", "objective = 'deepcluster': should be swav or deepcluster2"),
    ("model.stem=big", "model.stem = 'big': should be imagenet, small or small_pad2"),
    ("training.sync_batchnorm=-1", "training.sync_batchnorm = -1: should be true or false, or a whole number from 1"),
    ("training.compile=maybe", "training.compile = 'maybe': should be true or false, or auto"),
    ("training.precision=fp16", "training.precision = 'fp16': should be auto, float32, bf16 or float64"),
    ("data.limit=0", "data.limit = 0: should be a whole number from 1, or null"),
    ("data.mean=[123, 116, 103]", "data.mean = [123, 116, 103]: should be a list of numbers from 0 to 1, or auto"),
    ("data.mean=[0.5, x, true]", "data.mean = [0.5, 'x', True]: should be a list of numbers from 0 to 1, or auto"),
    ("crops.0.size=2", "crops.0.size = 2: should be a whole number from 4"),
    ("crops.1.scale=[0.5]", "crops.1.scale = [0.5]: should be a list of 2 numbers above 0"),
    ("crops.1.scale=[0.5, 0.6, 0.7]", "crops.1.scale = [0.5, 0.6, 0.7]: should be a list of 2 numbers above 0"),
    ("crops.1.scale=[0.9, 0.5]",
     "crops.1.scale = [0.9, 0.5]: scale runs from small to large within (0, 1], got 0.9 to 0.5"),
    ("crops.1.scale=[0.9, 1.5]",
     "crops.1.scale = [0.9, 1.5]: scale runs from small to large within (0, 1], got 0.9 to 1.5"),
    ("crops=[]", "crops = []: should be a list of one or more mappings with the keys count, size, scale, assign"),
    ("crops=null", "crops = null: should be a list of one or more mappings with the keys count, size, scale, assign"),
    ("crops.1=5", "crops.1 = 5: should be a mapping with the keys count, size, scale, assign"),
    ("loss=0.1", "loss = 0.1: should be a mapping with the keys temperature, epsilon, epsilon_of_spread, "
     "epsilon_least, sinkhorn_iterations, freeze_prototypes_steps, queue, clusters"),
    ("loss.queue=3840", "loss.queue = 3840: should be a mapping with the keys length, start_epoch"),
    ("name=a/b", "name = 'a/b': only letters, digits, '.', '_' and '-', since it names a folder"),
    ("training.seed=-1", "training.seed = -1: should be a whole number from 0 to 4,294,967,295"),
]  # fmt: skip


@pytest.mark.parametrize(("override", "line"), KINDS, ids=[override for override, _ in KINDS])
def test_a_wrong_kind_is_one_line(override: str, line: str) -> None:
    assert refusal(override) == [line]


CONTRADICTIONS = [
    (["crops.0.assign=false"], ["no crops have assign: true"]),
    (["crops=[{count: 1, size: 16, scale: [0.4, 1], assign: true}]"], ["crops make 1 crop", "crops.0.count"]),
    (["schedule.warmup_epochs=4"], ["schedule.warmup_epochs (4)", "training.epochs (3)"]),
    (["loss.queue.start_epoch=3"], ["loss.queue.start_epoch (3)", "training.epochs (3)"]),
    (["schedule.warmup_lr=0.9"], ["schedule.warmup_lr (0.9)", "optimizer.lr (0.8)"]),
    (["schedule.final_lr=0.9"], ["schedule.final_lr (0.9)", "optimizer.lr (0.8)"]),
    (["training.accumulate=3"], ["training.batch_size (8)", "training.accumulate (3)"]),
    (["training.accumulate=8"], ["training.batch_size (8)", "training.accumulate (8)", "1 picture"]),
    (["loss.queue.length=4"], ["loss.queue.length (4)", "training.batch_size (8)"]),
    (["loss.epsilon_of_spread=0.2", "loss.epsilon_least=0.1"], ["loss.epsilon_least (0.1)", "loss.epsilon (0.05)"]),
    (["loss.clusters.heads=2"], ["loss.clusters.heads (2) is of objective deepcluster2", "set it to 3"]),
    (["objective=deepcluster2"], ["loss.queue.length (32) is of objective swav", "set it to 0"]),
    (["objective=deepcluster2", "loss.queue.length=0"], ["loss.freeze_prototypes_steps (2) is of objective swav"]),
    (["objective=deepcluster2", "data.train=pipe:cat x", "data.stream_pictures=64"], ["data.train is a stream"]),
    (["augment.blur_sigma=[2, 1]"], ["augment.blur_sigma", "2 to 1"]),
    (["data.channels=1"], ["data.mean has 3 values", "data.channels (1)", "--set data.mean=auto"]),
    (["data.channels=1", "data.mean=auto"], ["data.std has 3 values", "data.channels (1)", "--set data.std=auto"]),
]


@pytest.mark.parametrize(("overrides", "parts"), CONTRADICTIONS)
def test_a_contradiction_names_both_values(overrides: list[str], parts: list[str]) -> None:
    first = refusal(*overrides)[0]
    for part in parts:
        assert part in first


def test_no_source_of_pictures_at_all() -> None:
    with pytest.raises(UserError, match=r"data\.train = '': should be text that is not empty"):
        parse_recipe(copy.deepcopy(TINY) | {"data": {"train": ""}}, "tiny.yaml")


def test_a_name_of_a_file_that_is_no_utf8() -> None:
    with pytest.raises(UserError, match=r"data\.train = 'ph\\udcffotos': is no UTF-8, .*; rename it, or name a link"):
        parse_recipe(copy.deepcopy(TINY) | {"data": {"train": os.fsdecode(b"ph\xffotos")}}, "tiny.yaml")


def test_all_contradictions_are_told_a_line_each() -> None:
    lines = refusal("schedule.warmup_epochs=9", "loss.queue.start_epoch=5", "training.accumulate=3", "data.channels=4")
    assert len(lines) == 5
    assert [line.split(" ")[0] for line in lines] == [
        "schedule.warmup_epochs", "loss.queue.start_epoch", "training.batch_size", "data.mean", "data.std",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "overrides",
    [
        ["training.epochs=auto"],
        ["training.batch_size=auto", "training.accumulate=3"],
        ["training.epochs=1", "loss.queue.length=0", "schedule.warmup_epochs=1"],  # a queue of no length starts nowhere
        ["optimizer.lr=auto", "schedule.final_lr=3"],
        ["schedule.warmup_epochs=0", "schedule.warmup_lr=3"],
        ["loss.queue.length=8"],
        ["training.accumulate=4"],
        ["data.channels=1", "data.mean=[0.5]", "data.std=[0.2]"],
    ],
)
def test_no_contradiction(overrides: list[str]) -> None:
    tiny_recipe(*overrides)


def test_statistics_over_processes_and_parts_exclude_each_other() -> None:
    [line] = refusal("training.accumulate=4", "training.sync_batchnorm=8")
    assert "training.sync_batchnorm (8) and training.accumulate (4) exclude each other" in line


def test_python_users_get_pydantic_errors_that_say_the_same() -> None:
    content = copy.deepcopy(TINY) | {"schedule": {"warmup_epochs": 9}}
    with pytest.raises(ValidationError, match=r"warmup_epochs \(9\) is longer than training.epochs \(3\)"):
        Recipe.model_validate(content)


def test_a_recipe_can_not_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        tiny_recipe().loss.epsilon = 1.0  # type: ignore[misc]


def test_crops_in_the_order_in_which_they_are_made() -> None:
    def crop(count: int, assign: bool) -> dict[str, Any]:
        return {"count": count, "size": 16, "scale": [0.1, 1], "assign": assign}

    recipe = parse_recipe(TINY | {"crops": [crop(3, False), crop(2, True), crop(1, False), crop(1, True)]}, "x")
    assert recipe.crop_count == 7
    assert recipe.assigned_crops == [3, 4, 6]


def test_whole_numbers_may_be_written_as_1e3() -> None:
    assert tiny_recipe("model.prototypes=1e3").model.prototypes == 1000
    assert type(tiny_recipe("training.seed=1e3").training.seed) is int


def test_groups_of_processes_stay_a_number() -> None:
    assert tiny_recipe("training.sync_batchnorm=1").training.sync_batchnorm == 1
    assert tiny_recipe("training.sync_batchnorm=1").training.sync_batchnorm is not True
    assert tiny_recipe("training.sync_batchnorm=true").training.sync_batchnorm is True


def test_a_crop_made_in_python_is_checked_too() -> None:
    with pytest.raises(ValidationError, match="small to large"):
        CropRecipe(count=1, size=8, scale=(0.5, 0.2))


def test_reading_a_recipe_does_not_wait_for_torch() -> None:
    code = "import sys, swav_cli.recipe.file as f; f.load_recipe('in1k-200e'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"

"""The shipped recipes: complete, opened by what one has to know, and the published ones exact."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest
import yaml

from swav_cli.recipe.file import load_recipe, read_recipe, schema_of, shipped_recipes
from swav_cli.recipe.schema import Recipe
from swav_cli.recipe.words import keys_of

SHIPPED = shipped_recipes()
CLASSIFIERS = [
    "finetune-in1k-10pct", "finetune-in1k-1pct", "finetune-small", "linear-in1k", "linear-in1k-lars", "linear-small",
]  # fmt: skip
NAMES = [
    "cifar10", "deepcluster2-in1k-400e", "deepcluster2-in1k-800e", "imagenette", "in1k-100e-bs4096", "in1k-200e",
    "in1k-200e-bs256", "in1k-200e-bs4096", "in1k-400e-2x224", "in1k-400e-bs256", "in1k-400e-bs4096", "in1k-400e-w2",
    "in1k-400e-w4", "in1k-800e-bs4096", "quickstart", "small-folder", "stl10",
]  # fmt: skip


class Published(NamedTuple):
    """A row of the published runs; learning rates are those of the whole batch."""

    backbone: str
    hidden: int
    epochs: int
    batch: int
    crops: list[tuple[int, int, tuple[float, float]]]
    peak: float
    final: float
    warmup: tuple[int, float]
    queue: tuple[int, int]
    frozen: int
    sync: bool | int
    top1: float
    zero_init: bool = False
    objective: str = "swav"


A = [(2, 224, (0.14, 1.0)), (6, 96, (0.05, 0.14))]
W2 = [(2, 224, (0.14, 1.0)), (4, 96, (0.05, 0.14))]
W4 = [(2, 224, (0.08, 1.0)), (4, 96, (0.08, 0.14))]
TWO = [(2, 224, (0.08, 1.0))]
MIDDLE = [(2, 160, (0.08, 1.0)), (4, 96, (0.05, 0.14))]
WARM, NONE, NO_QUEUE, QUEUE = (10, 0.3), (0, 0.0), (0, 0), (3840, 15)
PUBLISHED = {
    "in1k-100e-bs4096": Published(
        "resnet50", 2048, 100, 4096, A, 4.8, 0.0048, WARM, NO_QUEUE, 313, 8, 72.1),
    "in1k-200e-bs4096": Published(
        "resnet50", 2048, 200, 4096, A, 4.8, 0.0048, WARM, NO_QUEUE, 313, 8, 73.9),
    "in1k-400e-bs4096": Published(
        "resnet50", 2048, 400, 4096, A, 4.8, 0.0048, WARM, NO_QUEUE, 313, 8, 74.6),
    "in1k-800e-bs4096": Published(
        "resnet50", 2048, 800, 4096, A, 4.8, 0.0048, WARM, NO_QUEUE, 313, 8, 75.3),
    "in1k-200e-bs256": Published(
        "resnet50", 2048, 200, 256, A, 0.6, 0.0006, NONE, QUEUE, 5005, True, 72.7),
    "in1k-400e-bs256": Published(
        "resnet50", 2048, 400, 256, A, 0.6, 0.0006, NONE, QUEUE, 5005, True, 74.3),
    "in1k-400e-2x224": Published(
        "resnet50", 2048, 400, 4096, TWO, 4.8, 0.0048, WARM, NO_QUEUE, 313, 8, 70.1),
    "in1k-400e-w2": Published(
        "resnet50w2", 8192, 400, 4096, W2, 4.8, 0.0048, WARM, NO_QUEUE, 313, 8, 77.3),
    "in1k-400e-w4": Published(
        "resnet50w4", 8192, 400, 2560, W4, 4.8, 0.0048, WARM, (2560, 0), 313, 8, 77.9),
    "in1k-200e": Published(
        "resnet50", 2048, 200, 256, A, 0.6, 0.0006, NONE, QUEUE, 5005, True, 70.5, zero_init=True),
    "deepcluster2-in1k-400e": Published(
        "resnet50", 2048, 400, 4096, MIDDLE, 4.8, 0.0048, WARM, NO_QUEUE, 0, 8, 74.3, objective="deepcluster2"),
    "deepcluster2-in1k-800e": Published(
        "resnet50", 2048, 800, 4096, A, 4.8, 0.0048, WARM, NO_QUEUE, 0, 8, 75.2, objective="deepcluster2"),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_values(name: str) -> None:
    recipe, row = load_recipe(name), PUBLISHED[name]
    batch = recipe.training.batch_size
    assert batch != "auto"
    assert recipe.optimizer.lr != "auto"
    scale = batch / 256
    found = Published(
        recipe.model.backbone,
        recipe.model.hidden_dim,
        int(recipe.training.epochs),
        batch,
        [(crop.count, crop.size, crop.scale) for crop in recipe.crops],
        recipe.optimizer.lr * scale,
        recipe.schedule.final_lr * scale,
        (int(recipe.schedule.warmup_epochs), recipe.schedule.warmup_lr * scale),
        (int(recipe.loss.queue.length), int(recipe.loss.queue.start_epoch)),
        int(recipe.loss.freeze_prototypes_steps),
        recipe.training.sync_batchnorm,
        float(str(recipe.reference).removeprefix("linear top-1 ")),
        recipe.model.zero_init_residual,
        recipe.objective,
    )
    for field, value in row._asdict().items():
        expected = pytest.approx(value, rel=1e-12) if field in ("peak", "final", "warmup") else value
        assert getattr(found, field) == expected, field
    assert type(found.sync) is type(row.sync)  # 1 is not true here


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_all_published_runs_share(name: str) -> None:
    recipe = load_recipe(name)
    assert (recipe.model.width, recipe.model.stem) == (64, "imagenet")
    assert (recipe.model.embedding_dim, recipe.model.prototypes) == (128, 3000)
    assert recipe.assigned_crops == [0, 1]
    assert (recipe.loss.clusters.heads, recipe.loss.clusters.iterations) == (3, 10)
    assert (recipe.loss.temperature, recipe.loss.epsilon, recipe.loss.sinkhorn_iterations) == (0.1, 0.05, 3)
    assert recipe.optimizer.model_dump(exclude={"lr"}) == {
        "name": "lars", "momentum": 0.9, "weight_decay": 1e-6, "trust_coefficient": 0.001,
    }  # fmt: skip
    assert recipe.augment.model_dump() == {
        "flip": 0.5, "jitter": 0.8, "brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2,
        "grayscale": 0.2, "blur": 0.5, "blur_sigma": (0.1, 2.0),
    }  # fmt: skip
    assert recipe.data.mean == [0.485, 0.456, 0.406]
    assert recipe.data.std == [0.229, 0.224, 0.225]
    assert (recipe.data.limit, recipe.data.channels, recipe.training.accumulate) == (None, 3, 1)


def test_the_shipped_recipes_are_those() -> None:
    assert sorted(SHIPPED) == sorted([*NAMES, *CLASSIFIERS])


@pytest.mark.parametrize("name", [*NAMES, *CLASSIFIERS])
def test_a_recipe_is_named_as_its_file_and_parses(name: str) -> None:
    assert read_recipe(SHIPPED[name]).name == name


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_recipe_of_a_classifier_writes_every_key(name: str) -> None:
    content = yaml.safe_load(SHIPPED[name].read_text(encoding="utf-8"))
    assert set(_paths(content)) == {key.name for key in keys_of(schema_of(content))}


def test_published_protocols() -> None:
    """Rates of the whole batch, epochs, decay and drops, as published."""

    def facts(name: str) -> tuple[Any, ...]:
        recipe = read_recipe(SHIPPED[name])
        assert not isinstance(recipe, Recipe)
        batch = recipe.training.batch_size
        assert batch != "auto"
        rates = [recipe.optimizer.lr, getattr(recipe.optimizer, "backbone_lr", 0.0)]
        return (
            recipe.optimizer.name, [rate * batch / 256 for rate in rates], batch, recipe.training.epochs,
            recipe.optimizer.weight_decay, recipe.schedule.drop_epochs, recipe.crop.scale, recipe.data.labels,
        )  # fmt: skip

    assert facts("linear-in1k") == ("sgd", [0.3, 0.0], 256, 100, 1e-6, [], (0.08, 1.0), "all")
    assert facts("linear-in1k-lars") == ("lars", [1.6, 0.0], 4096, 90, 0.0, [], (0.08, 1.0), "all")
    assert facts("finetune-in1k-1pct") == ("sgd", [5.0, 0.02], 256, 20, 0.0, [12, 16], (0.08, 1.0), "1%")
    assert facts("finetune-in1k-10pct") == ("sgd", [0.2, 0.01], 256, 20, 0.0, [12, 16], (0.08, 1.0), "10%")


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_writes_every_key(name: str) -> None:
    """Nothing comes from a default that a reader has to look up."""
    content = yaml.safe_load(SHIPPED[name].read_text(encoding="utf-8"))
    crops = content.pop("crops")
    written = {f"crops.0.{key}" for key in crops[0]} | set(_paths(content))
    assert written == {key.name for key in keys_of()}
    assert all(set(crop) == set(crops[0]) for crop in crops)


def _paths(content: dict[str, Any], prefix: str = "") -> list[str]:
    paths = []
    for key, value in content.items():
        paths += _paths(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]
    return paths


@pytest.mark.parametrize("name", [*NAMES, *CLASSIFIERS])
def test_a_recipe_opens_with_what_one_has_to_know(name: str) -> None:
    opening = SHIPPED[name].read_text(encoding="utf-8").split("\n\n")[0]
    lines = opening.splitlines()
    assert all(line.startswith("#") for line in lines)
    for word in ("source", "command", "hardware", "accuracy"):
        assert [line for line in lines if re.match(rf"# {word} +\S", line)], f"no line '# {word} ...'"
    if name in NAMES:
        assert f"pretrain {name} " in opening + " " or f"pretrain {name}\n" in opening
    assert max(map(len, SHIPPED[name].read_text(encoding="utf-8").splitlines())) <= 120

"""Smaller networks and crops: never larger than the recipe's, never below what still shows something."""

from __future__ import annotations

import pytest

from swav_cli.planning.derive import with_values
from swav_cli.planning.smaller import is_held, smaller_recipes
from swav_cli.recipe.file import load_recipe


def sizes_of(name: str, *held: str) -> list[tuple[str, int, list[int]]]:
    recipe = load_recipe(name)
    changed = [with_values(recipe, changes) for changes in smaller_recipes(recipe, held)]
    return [(each.model.backbone, each.model.width, [crop.size for crop in each.crops]) for each in changed]


def test_network_and_crops_shrink_in_turn() -> None:
    assert sizes_of("in1k-200e") == [
        ("resnet18", 16, [112, 48]), ("resnet18", 32, [112, 48]), ("resnet18", 64, [112, 48]),
        ("resnet18", 64, [160, 64]), ("resnet50", 64, [160, 64]), ("resnet50", 64, [224, 96]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "held", "sizes"),
    [
        ("cifar10", [], [(16, [32]), (32, [32]), (64, [32])]),  # crops of 32 pixels stay what they are
        ("quickstart", [], [(16, [32])]),
        ("small-folder", ["crops.0.scale"], [(16, [128]), (32, [128]), (64, [128])]),
        ("small-folder", ["model.width"], [(64, [64]), (64, [96]), (64, [128])]),
        ("small-folder", ["model", "crops"], [(64, [128])]),
    ],
)
def test_what_is_held_stays(name: str, held: list[str], sizes: list[tuple[int, list[int]]]) -> None:
    assert [size[1:] for size in sizes_of(name, *held)] == sizes


def test_blur_counts_pixels_and_follows_the_crops() -> None:
    recipe = load_recipe("small-folder")
    smallest, *_, whole = smaller_recipes(recipe)
    assert smallest["augment.blur_sigma"] == (0.1, 0.6)
    assert whole == {}
    assert "augment.blur_sigma" not in smaller_recipes(recipe, ["augment.blur_sigma"])[0]
    assert is_held("model", ["model.width"])

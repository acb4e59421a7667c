"""A recipe with a narrower network and smaller crops, step by step: what a run can do with in less time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from swav_cli.planning.derive import with_values
from swav_cli.recipe.architectures import ARCHITECTURES
from swav_cli.recipe.schema import Recipe

SHALLOW = "resnet18"
WIDTHS = (1.0, 0.5, 0.25)  # of the recipe's, in turn
SIZES = (1.0, 0.75, 0.5)
LEAST_WIDTH = 16
LEAST_SIZE = 64  # pixels of a crop that gives codes: a stem of stride 4 leaves 2 x 2 numbers of it; others have half
LEAST_SIZE_SMALL_STEM = 32
MULTIPLE = 16  # pixels

Changes = Mapping[str, Any]  # values by their keys


def smaller_recipes(recipe: Recipe, held: Collection[str] = ()) -> list[Changes]:
    """What to change in a recipe, from least work to none; crops and network shrink in turn.

    >>> from swav_cli import load_recipe
    >>> for changes in smaller_recipes(load_recipe("small-folder")):
    ...     print(changes.get("model.width", 64), changes.get("crops.0.size", 128))
    16 64
    32 64
    32 96
    64 96
    64 128

    Args:
        held: keys of values that stay.
    """
    networks, sizes = list(_networks(recipe, held)), list(_sizes(recipe, held))
    found: list[Changes] = [{}]
    network = size = 0
    while (network, size) != (len(networks) - 1, len(sizes) - 1):
        is_turn_of_crops = network == len(networks) - 1 or size <= network
        if is_turn_of_crops and size < len(sizes) - 1:
            size += 1
        else:
            network += 1
        changes = {**networks[network], **sizes[size]}
        if changes not in found:
            found.append(changes)
    return found[::-1]


def is_held(key: str, held: Collection[str]) -> bool:
    """Whether a value, all that it is part of, or a part of it is to stay.

    >>> is_held("crops.0.size", ["crops.0.size"]), is_held("model.width", ["crops"]), is_held("crops", ["crops.0.size"])
    (True, False, True)
    """
    return any(key == each or key.startswith(f"{each}.") or each.startswith(f"{key}.") for each in held)


def _networks(recipe: Recipe, held: Collection[str]) -> Iterator[Changes]:
    """A shallow one after a deep one, then narrower ones; timm's are what they are."""
    yield {}
    model = recipe.model
    if is_held("model.backbone", held) or model.backbone not in ARCHITECTURES:
        return
    backbone: Changes = {} if model.backbone == SHALLOW else {"model.backbone": SHALLOW}
    for share in WIDTHS:
        width = max(min(model.width, LEAST_WIDTH), round(share * model.width))
        changed = {"model.width": width} if width != model.width else {}
        if changed and is_held("model.width", held):
            return
        if backbone or changed:
            yield {**backbone, **changed}


def _sizes(recipe: Recipe, held: Collection[str]) -> Iterator[Changes]:
    """All crops in proportion, and blur with them, which counts pixels."""
    yield {}
    if is_held("crops", held):
        return
    least = LEAST_SIZE if recipe.model.stem == "imagenet" else LEAST_SIZE_SMALL_STEM
    for share in SIZES[1:]:
        changes: dict[str, Any] = {}
        for position, crop in enumerate(recipe.crops):
            floor = min(crop.size, least if crop.assign else least // 2)
            size = max(floor, round(share * crop.size / MULTIPLE) * MULTIPLE)
            if size != crop.size:
                changes[f"crops.{position}.size"] = size
        if changes:
            yield {**changes, **_blur(recipe, changes, held)}


def _blur(recipe: Recipe, changes: Changes, held: Collection[str]) -> Changes:
    if not recipe.augment.blur or is_held("augment.blur_sigma", held):
        return {}
    share = largest_crop(with_values(recipe, changes)) / largest_crop(recipe)
    least, most = recipe.augment.blur_sigma
    return {"augment.blur_sigma": (least, max(least, round(share * most, 2)))}


def largest_crop(recipe: Recipe) -> int:
    """Pixels of a side."""
    return max(crop.size for crop in recipe.crops)

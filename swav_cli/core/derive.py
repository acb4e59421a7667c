"""From a recipe to a run: what `auto` means for these pictures, and contradictions that only the pictures show.

Each derived value comes with the reason, which is printed; the run's own recipe holds the values.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from swav_cli.core.precision import pick_precision
from swav_cli.core.recipe import Recipe
from swav_cli.data.images import BadPicture
from swav_cli.data.sources import Pictures
from swav_cli.errors import UserError

SAMPLE_FOR_STATISTICS = 1000


class Derived(NamedTuple):
    key: str
    value: Any
    reason: str


def derive(recipe: Recipe, pictures: Pictures, device: torch.device) -> tuple[Recipe, list[Derived]]:
    """The recipe with every `auto` that affects what is learnt replaced, and what was replaced.

    Raises:
        UserError: the recipe and the pictures contradict each other.
    """
    found: list[Derived] = []

    def settle(recipe: Recipe, key: str, value: Any, reason: str) -> Recipe:
        """`key` set to a value, where the recipe leaves it open."""
        if _get(recipe, key) != "auto":
            return recipe
        found.append(Derived(key, value, reason))
        return _set(recipe, key, value)

    n = len(pictures)
    recipe = settle(recipe, "training.batch_size", _batch_size(n), f"an eighth of {n:,} pictures, within 16 and 256")
    recipe = settle(recipe, "training.epochs", _epochs(n), f"fewer pictures are seen more often; there are {n:,}")
    recipe = settle(recipe, "model.prototypes", min(3000, max(30, n // 10)), f"one for ten of {n:,} pictures, 30 to 3000")
    batch, epochs, prototypes = _sizes(recipe)
    queue = _queue_length(n, batch, prototypes)
    why = f"whole batches up to {prototypes:,} prototypes, at most a quarter of the pictures"
    recipe = settle(recipe, "loss.queue.length", queue, why)
    recipe = settle(recipe, "loss.queue.start_epoch", max(1, epochs // 10) if epochs > 1 else 0, "a tenth of the run")
    large = n >= 100_000
    why = "one epoch, as published" if large else "none below 100,000 pictures, where it was found to do harm"
    recipe = settle(recipe, "loss.freeze_prototypes_steps", n // batch if large else 0, why)
    recipe = settle(recipe, "optimizer.lr", *_learning_rate(recipe.optimizer.name, batch))
    if "auto" in (recipe.data.mean, recipe.data.std):
        mean, std = measure_statistics(pictures)
        why = f"measured on up to {SAMPLE_FOR_STATISTICS:,} pictures"
        recipe = settle(recipe, "data.mean", mean, why)
        recipe = settle(recipe, "data.std", std, why)
    recipe = settle(recipe, "training.precision", *pick_precision(device))
    _check_against_pictures(recipe, n)
    return recipe, found


def _batch_size(n: int) -> int:
    """The power of two at or below n / 8."""
    return min(256, max(16, 2 ** int(math.log2(max(1, n // 8)))))


def _epochs(n: int) -> int:
    return 200 if n <= 2_000 else 100 if n <= 20_000 else 50


def _queue_length(n: int, batch: int, prototypes: int) -> int:
    if batch >= prototypes:
        return 0
    return min(math.ceil((prototypes - batch) / batch), n // 4 // batch) * batch


def _learning_rate(optimizer: str, batch: int) -> tuple[float, str]:
    if optimizer == "lars":
        return (0.6, "published for batches of 256") if batch < 1024 else (0.3, "published for batches of 4,096")
    if optimizer == "sgd":
        return 0.4, "best of what was tried on small data"
    return 0.001, "usual for adamw"


def _sizes(recipe: Recipe) -> tuple[int, int, int]:
    batch, epochs, prototypes = recipe.training.batch_size, recipe.training.epochs, recipe.model.prototypes
    assert isinstance(batch, int) and isinstance(epochs, int) and isinstance(prototypes, int)
    return batch, epochs, prototypes


def measure_statistics(pictures: Pictures) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel, 0 to 1, over an even choice of pictures."""
    sums, squares, pixels = np.zeros(pictures.channels), np.zeros(pictures.channels), 0
    for index in np.linspace(0, len(pictures) - 1, min(SAMPLE_FOR_STATISTICS, len(pictures)), dtype=int):
        try:
            values = pictures.read(int(index)).double().flatten(1) / 255
        except BadPicture:
            continue
        sums += values.sum(dim=1).numpy()
        squares += values.square().sum(dim=1).numpy()
        pixels += values.shape[1]
    if not pixels:
        raise UserError(f"{pictures.source}: none of the pictures tried can be read")
    mean = sums / pixels
    std = np.sqrt(np.maximum(squares / pixels - mean**2, 1e-6))
    return [round(float(m), 4) for m in mean], [round(float(s), 4) for s in std]


def _check_against_pictures(recipe: Recipe, n: int) -> None:
    """Contradictions between a settled recipe and the number of pictures.

    Raises:
        UserError: all of them, one line each.
    """
    batch, epochs, _ = _sizes(recipe)
    problems = []
    if batch > n:
        problems.append(
            f"training.batch_size ({batch}) is larger than the number of pictures ({n}); try --batch-size {_batch_size(n)}"
            if n >= 16
            else f"{n} pictures are too few to learn from (training.batch_size is {batch}); give at least a hundred"
        )
    else:
        steps = n // batch * epochs
        frozen, queue = recipe.loss.freeze_prototypes_steps, recipe.loss.queue.length
        assert isinstance(frozen, int) and isinstance(queue, int)
        if frozen >= steps:
            problems.append(
                f"loss.freeze_prototypes_steps ({frozen}) is not shorter than the run ({steps} steps: {epochs} epochs of "
                f"{n // batch}); prototypes would never train. One epoch is --set loss.freeze_prototypes_steps={n // batch}"
            )
        if queue > n:
            problems.append(
                f"loss.queue.length ({queue}) is longer than the data ({n} pictures); it would hold pictures twice. "
                f"Set it to 0 or at most {n // batch * batch}"
            )
    if problems:
        raise UserError(f"recipe '{recipe.name}': " + "\n  ".join(problems))


def _get(recipe: Recipe, key: str) -> Any:
    value: Any = recipe
    for step in key.split("."):
        value = getattr(value, step)
    return value


def _set(recipe: Recipe, key: str, value: Any) -> Recipe:
    content = recipe.model_dump()
    place = content
    *above, last = key.split(".")
    for step in above:
        place = place[step]
    place[last] = value
    try:
        return Recipe.model_validate(content)
    except ValueError as error:
        reasons = [mistake["msg"].removeprefix("Value error, ") for mistake in getattr(error, "errors", lambda: [])()]
        raise UserError(f"recipe '{recipe.name}', with {key} = {value}: " + "; ".join(reasons)) from None

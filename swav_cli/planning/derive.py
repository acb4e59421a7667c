"""From a recipe to a run: what `auto` means for these pictures, and contradictions that only the pictures show.

Each derived value comes with the reason, which is printed; the run's own recipe holds the values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from swav_cli.core.compiling import pick_compile
from swav_cli.core.precision import pick_precision, refuse_float64
from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.pictures import Pictures
from swav_cli.errors import UserError, counted
from swav_cli.recipe.classifier_schema import ClassifierRecipe
from swav_cli.recipe.part import Part
from swav_cli.recipe.schema import Recipe, settled
from swav_cli.recipe.words import explain

Kind = TypeVar("Kind", bound=Part)
Classifier = TypeVar("Classifier", bound=ClassifierRecipe)
SAMPLE_FOR_STATISTICS = 500
LOWER = 4  # times the rate of a run that starts from weights
PIXELS_OF_A_SIDE = 256  # about as many are looked at, so that a photo of 50 megapixels counts no more and costs no more


class Derived(NamedTuple):
    key: str
    value: Any
    reason: str

    @property
    def told(self) -> str:
        """The value as a recipe writes it."""
        return str(self.value).lower() if isinstance(self.value, bool) else str(self.value)


def derived_facts(derived: Iterable[Derived]) -> dict[str, dict[str, Any]]:
    """What was derived as plain values, by key."""
    return {each.key: {"value": each.value, "reason": each.reason} for each in derived}


def derive(recipe: Recipe, pictures: Pictures, device: torch.device) -> tuple[Recipe, list[Derived]]:
    """The recipe with every `auto` that affects what is learnt replaced, and what was replaced.

    Raises:
        UserError: the recipe and the pictures contradict each other.
    """
    n = len(pictures)
    recipe, found = settle_numbers(recipe, n, device)
    problems = against_pictures(recipe, n)  # before pictures are read
    if problems:
        raise UserError(f"recipe '{recipe.name}': " + "\n  ".join(problems))
    if "auto" in (recipe.data.mean, recipe.data.std):
        looked_at = pictures.some(SAMPLE_FOR_STATISTICS)
        mean, std = measure_statistics(looked_at)
        why = f"measured on {counted(min(len(looked_at), SAMPLE_FOR_STATISTICS), 'picture')}"
        recipe = _settled_key(recipe, "data.mean", mean, why, found)
        recipe = _settled_key(recipe, "data.std", std, why, found)
    return recipe, found


def settle_numbers(recipe: Recipe, n: int, device: torch.device) -> tuple[Recipe, list[Derived]]:
    """All that follows from the number of pictures and from the device; not mean and deviation.

    Raises:
        UserError: a value that the others deny.
    """
    found: list[Derived] = []
    if recipe.model.init_from == "auto":  # and nobody has looked for weights
        recipe = with_value(recipe, "model.init_from", None)
    starts = recipe.model.init_from is not None

    def settle(recipe: Recipe, key: str, value: Any, reason: str) -> Recipe:
        return _settled_key(recipe, key, value, reason, found)

    recipe = settle(recipe, "training.batch_size", *_batch_size(n))
    recipe = settle(recipe, "training.epochs", *_epochs(n, starts))
    recipe = settle(recipe, "model.prototypes", *_prototypes(n))
    batch, epochs, prototypes = _sizes(recipe)
    queue, frozen = _queue_length(n, batch, prototypes), _frozen_steps(n, batch, epochs, starts)
    if recipe.objective == "deepcluster2":
        queue, frozen = (0, "none: deepcluster2 remembers a whole epoch"), (0, "none: prototypes are never trained")
    recipe = settle(recipe, "loss.queue.length", *queue)
    recipe = settle(recipe, "loss.queue.start_epoch", *_queue_start(recipe.loss.queue.length, epochs))
    recipe = settle(recipe, "loss.freeze_prototypes_steps", *frozen)
    recipe = settle(recipe, "optimizer.lr", *_learning_rate(recipe.optimizer.name, batch, starts))
    recipe = settle(recipe, "training.precision", *pick_precision(device))
    refuse_float64(recipe.training.precision, device)
    if recipe.training.compile == "auto":  # what it would save is counted only then
        recipe = settle(recipe, "training.compile", *pick_compile(recipe, n, device))
    return recipe, found


def settle_classifier(
    recipe: Classifier, model: str, size: int, n: int, device: torch.device
) -> tuple[Classifier, list[Derived]]:
    """The recipe of a classifier with every `auto` replaced, and what was replaced.

    Args:
        model: what the classifier is trained on.
        size: pixels, at which that model is judged.
        n: pictures whose labels are used.

    Raises:
        UserError: the recipe and the pictures contradict each other.
    """
    found: list[Derived] = []
    recipe = with_value(recipe, "model", model)
    recipe = _settled_key(recipe, "crop.size", size, f"the size at which {model} is judged", found)
    recipe = _settled_key(recipe, "training.batch_size", *_batch_of_labelled(n, recipe.training.accumulate), found)
    recipe = _settled_key(recipe, "training.precision", *pick_precision(device), found)
    refuse_float64(recipe.training.precision, device)
    batch, parts = settled(recipe.training.batch_size), recipe.training.accumulate
    if parts > n:
        raise UserError(
            f"recipe '{recipe.name}': training.accumulate ({parts}) is larger than the number of labelled pictures "
            f"({n}); try --set training.accumulate=1"
        )
    if batch > n:
        raise UserError(
            f"recipe '{recipe.name}': training.batch_size ({batch}) is larger than the number of labelled pictures "
            f"({n}); try --batch-size {_batch_of_labelled(n, parts)[0]}"
        )
    return recipe, found


def _batch_size(n: int) -> tuple[int, str]:
    """A power of two, so that small data make several steps an epoch."""
    batch = min(256, max(16, 2 ** int(math.log2(max(1, n // 8)))))
    return batch, f"the power of two up to an eighth of {n:,} pictures, at least 16 and at most 256"


def _batch_of_labelled(n: int, parts: int) -> tuple[int, str]:
    """The same, but never more than there are: one labelled picture a class may be all that somebody has."""
    batch, reason = _batch_size(n)
    if batch <= n:
        return batch, reason
    return max(parts, n // parts * parts), f"all {n:,} labelled pictures at once"


def _epochs(n: int, starts: bool) -> tuple[int, str]:
    """
    Args:
        starts: from weights that have learnt already.
    """
    epochs = 200 if n <= 2_000 else 100 if n <= 20_000 else 50
    if starts:
        return epochs // 10, f"a tenth of {epochs}, the usual ones for {n:,} pictures: it starts from weights"
    return epochs, f"200 up to 2,000 pictures, 100 up to 20,000, else 50; there are {n:,}"


def _prototypes(n: int) -> tuple[int, str]:
    return min(3000, max(30, n // 10)), f"one for ten of {n:,} pictures, at least 30 and at most 3,000"


def _queue_length(n: int, batch: int, prototypes: int) -> tuple[int, str]:
    """Codes share pictures out evenly, which takes about as many pictures as there are prototypes."""
    if batch >= prototypes:
        return 0, f"none: a batch of {batch} reaches for {prototypes:,} prototypes"
    length = min(math.ceil((prototypes - batch) / batch), n // 4 // batch) * batch
    return length, f"whole batches of {batch} up to {prototypes:,} prototypes, at most a quarter of {n:,} pictures"


def _queue_start(length: int | str, epochs: int) -> tuple[int, str]:
    if not length:
        return 0, "there is no queue"
    if epochs == 1:
        return 0, "at once: there is one epoch"
    return max(1, epochs // 10), f"a tenth of {epochs} epochs: embeddings change too fast at first to be kept"


def _frozen_steps(n: int, batch: int, epochs: int, starts: bool) -> tuple[int, str]:
    if starts:
        return 0, "none: the features that prototypes are to divide are there"
    if n < 100_000:
        return 0, "none below 100,000 pictures, where it was found to do harm"
    epoch = n // batch
    if epochs == 1:
        return epoch // 2, "half of the one epoch there is"
    return epoch, f"one epoch, as published: {n:,} pictures / {batch}"


def _learning_rate(optimizer: str, batch: int, starts: bool) -> tuple[float, str]:
    usual, reason = _usual_rate(optimizer, batch)
    if starts:
        return usual / LOWER, f"per 256 pictures, a quarter of {usual:g}: it starts from weights, which are to be kept"
    return usual, reason


def _usual_rate(optimizer: str, batch: int) -> tuple[float, str]:
    if optimizer == "lars":
        published = (0.6, "256") if batch < 1024 else (0.3, "4,096")
        return published[0], f"per 256 pictures, as published for batches of {published[1]}"
    if optimizer == "sgd":
        return 0.4, "per 256 pictures, the best of what was tried on small data"
    return 0.001, "per 256 pictures, usual for adamw"


def usual_epochs(recipe: Recipe, n: int) -> int:
    """Those that a recipe says, or that `auto` means for so many pictures."""
    epochs = recipe.training.epochs
    return _epochs(n, recipe.model.init_from not in (None, "auto"))[0] if epochs == "auto" else epochs


def usual_batch_size(recipe: Recipe, n: int) -> int:
    """The same of a batch."""
    batch = recipe.training.batch_size
    return _batch_size(n)[0] if batch == "auto" else batch


def _sizes(recipe: Recipe) -> tuple[int, int, int]:
    training, model = recipe.training, recipe.model
    return settled(training.batch_size), settled(training.epochs), settled(model.prototypes)


class PixelSums(NamedTuple):
    """Sums over the pixels of pictures, 0 to 1, of each channel; and of their squares."""

    sums: NDArray[np.float64]  # (C,)
    squares: NDArray[np.float64]  # (C,)
    pixels: int

    @classmethod
    def of(cls, picture: Tensor) -> PixelSums:
        values = thinned(picture).double().flatten(1) / 255
        return cls(values.sum(dim=1).numpy(), values.square().sum(dim=1).numpy(), values.shape[1])

    def joined(self, other: PixelSums) -> PixelSums:
        return PixelSums(self.sums + other.sums, self.squares + other.squares, self.pixels + other.pixels)

    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and deviation of each channel."""
        mean = self.sums / self.pixels
        std = np.sqrt(np.maximum(self.squares / self.pixels - mean**2, 1e-6))
        return [round(float(m), 4) for m in mean], [round(float(s), 4) for s in std]


def thinned(picture: Tensor) -> Tensor:  # (C, H, W)
    """Rows and columns of it, as many as are looked at."""
    down, across = (max(1, side // PIXELS_OF_A_SIDE) for side in picture.shape[1:])
    return picture[:, ::down, ::across]


def measure_statistics(pictures: Pictures) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel, 0 to 1.

    The pictures looked at are drawn, always the same: every tenth of a list could all be of one kind.
    """
    count = min(SAMPLE_FOR_STATISTICS, len(pictures))
    chosen = np.random.Generator(np.random.Philox(key=len(pictures))).choice(len(pictures), count, replace=False)
    found = PixelSums(np.zeros(pictures.channels), np.zeros(pictures.channels), 0)
    for index in np.sort(chosen):
        try:
            found = found.joined(PixelSums.of(pictures.read(int(index))))
        except BadPicture:
            continue
    if not found.pixels:
        raise UserError(f"{pictures.source}: none of the pictures tried can be read")
    return found.statistics()


def against_pictures(recipe: Recipe, n: int) -> list[str]:
    """Contradictions between a settled recipe and the number of pictures, a line each."""
    batch, _, _ = _sizes(recipe)
    if batch <= n:
        return _in_the_course(recipe, n)
    if n >= 16:
        return [
            f"training.batch_size ({batch}) is larger than the number of pictures ({n}); "
            f"try --batch-size {_batch_size(n)[0]}"
        ]
    few = f"{counted(n, 'picture')} {'is' if n == 1 else 'are'} too few to learn from"
    return [f"{few} (training.batch_size is {batch}); give at least a hundred"]


def _in_the_course(recipe: Recipe, n: int) -> list[str]:
    batch, epochs, prototypes = _sizes(recipe)
    frozen, queue, start = recipe.loss.freeze_prototypes_steps, recipe.loss.queue.length, recipe.loss.queue.start_epoch
    assert frozen != "auto"
    assert queue != "auto"
    assert start != "auto"
    per_epoch = n // batch
    steps = per_epoch * epochs
    problems = []
    if frozen >= steps:
        less = per_epoch if epochs > 1 else 0
        problems.append(
            f"loss.freeze_prototypes_steps ({frozen}) is not shorter than the run ({counted(steps, 'step')}: "
            f"{counted(epochs, 'epoch')} of {per_epoch}); prototypes would never train. "
            f"Try --set loss.freeze_prototypes_steps={less}"
        )
    if recipe.objective == "deepcluster2" and prototypes > per_epoch * batch:
        problems.append(
            f"model.prototypes ({prototypes}) are more than the pictures of an epoch ({per_epoch * batch}), from which "
            f"k-means begins; try --set model.prototypes={max(2, n // 10)}"
        )
    full_at = start * per_epoch + math.ceil(queue / batch)
    if queue > n:
        problems.append(
            f"loss.queue.length ({queue}) is longer than the data ({n} pictures); it would hold pictures twice. "
            f"Set it to 0 or at most {per_epoch * batch}"
        )
    elif queue and full_at >= steps:
        problems.append(
            f"loss.queue.length ({queue}) from loss.queue.start_epoch ({start}) is full only at step {full_at} "
            f"of {steps}, and takes no part before; make it shorter, start it earlier, or set it to 0"
        )
    return problems


def _settled_key(recipe: Kind, key: str, value: Any, reason: str, found: list[Derived]) -> Kind:
    """`key` set to a value, where the recipe leaves it open; what was set joins `found`."""
    if value_of(recipe, key) != "auto":
        return recipe
    found.append(Derived(key, value, reason))
    return with_value(recipe, key, value)


def value_of(recipe: Part, key: str) -> Any:
    """A value by its key, as `--set` takes it."""
    value: Any = recipe
    for step in key.split("."):
        value = value[int(step)] if isinstance(value, list) else getattr(value, step)
    return value


def with_value(recipe: Kind, key: str, value: Any) -> Kind:
    """The recipe with another value, checked anew."""
    return with_values(recipe, {key: value})


def with_values(recipe: Kind, values: Mapping[str, Any]) -> Kind:
    """The recipe with other values, by their keys as `--set` takes them; checked anew, all together."""
    content = recipe.model_dump()
    for key, value in values.items():
        place: Any = content
        *above, last = key.split(".")
        for step in above:
            place = place[int(step) if isinstance(place, list) else step]
        place[last] = value
    try:
        return type(recipe).model_validate(content)
    except ValidationError as error:
        problems = "\n  ".join(explain(error, content, type(recipe)))
        told = ", ".join(f"{key} = {value}" for key, value in values.items())
        raise UserError(f"recipe '{content['name']}', with {told}: {problems}") from None

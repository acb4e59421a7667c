"""A recipe on these pictures: contradictions, for which a run would be refused, and what is known to go wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch

from swav_cli.core.plan import make_plan
from swav_cli.core.precision import pick_precision
from swav_cli.core.verdict import LITTLE_OF_A_PICTURE, first_spread
from swav_cli.data.paths import keeping_nothing
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.limits import own_processors
from swav_cli.errors import UserError, counted
from swav_cli.planning.derive import Derived, against_pictures, settle_numbers, with_value
from swav_cli.recipe.schema import Recipe, settled
from swav_cli.report.checkup import Check
from swav_cli.tasks.doctor.look import Look
from swav_cli.tasks.doctor.pictures import enlargement
from swav_cli.tasks.pretrain_results import Judge

PICTURES_A_PROTOTYPE = 3  # fewer, and a prototype gets single pictures; auto derives ten
PROTOTYPES_A_PICTURE = 10  # of a batch and the queue: more, and codes share out too few among too many
QUEUE_SHARE = 0.5  # of the pictures, above which the queue holds the same pictures as the batch
FEW_STEPS = 200
SMALL_DATA = 100_000  # pictures below which freezing prototypes was found to do harm
WARM_SHARE = 0.5  # of a run, above which the warm-up leaves too little of it
MOSTLY_ENLARGED = 2.0  # times, of a usual crop of the middle picture
FAR_MEAN, LEAST_STD, MOST_STD = 1.0, 0.5, 2.0  # of pixels once they are normalised, where 0 and 1 are meant
MOSTLY_GRAY = 0.95


class Fitted(NamedTuple):
    """A recipe with every `auto` replaced, and why a run of it would be refused."""

    recipe: Recipe
    derived: list[Derived]
    refusals: list[str]
    is_settled: bool  # False: not even that could be done, for the first refusal
    measures: bool  # mean and deviation follow from the pictures, so that they can't be far off


def fit(recipe: Recipe, count: int, look: Look, device: torch.device) -> Fitted:
    """The recipe settled for so many pictures, with the statistics of those that were looked at."""
    measures = "auto" in (recipe.data.mean, recipe.data.std)
    try:
        for key, measured in zip(("mean", "std"), look.statistics() or (), strict=False):
            if getattr(recipe.data, key) == "auto":
                recipe = with_value(recipe, f"data.{key}", measured)
        recipe, derived = settle_numbers(recipe, count, device)
    except UserError as error:
        return Fitted(recipe, [], [" ".join(str(error).split())], False, measures)
    if "auto" in (recipe.data.mean, recipe.data.std):
        return Fitted(recipe, derived, ["none of the pictures tried can be read"], False, measures)
    return Fitted(recipe, derived, against_pictures(recipe, count), True, measures)


def check_judged(recipe: Recipe, pictures: Pictures, device: torch.device) -> Check:
    """Whether the labelled pictures that the run is judged by are there, and of classes that the others know."""
    if recipe.data.val is None:
        return Check("judged by", "ok", "nothing: no labelled pictures are named as data.val")
    try:
        with keeping_nothing():
            judge = Judge(recipe, pictures, device)
    except UserError as error:
        return Check("judged by", "problem", str(error), "--set data.val=PATH of labelled pictures, or data.val=null")
    queries = judge.labelled.queries
    return Check("judged by", "ok", f"{counted(len(queries), 'picture')} of {queries.source}")


def check_recipe(fitted: Fitted, look: Look, device: torch.device) -> list[Check]:
    """Whether a run would begin, and its risks on these pictures."""
    checks = [Check("contradiction", "problem", text, "change one of the values named") for text in fitted.refusals]
    if not fitted.is_settled:
        return checks
    checks = checks or [check_plan(fitted, look.total)]
    risks = [*_in_numbers(fitted.recipe, look.total), *_in_settings(fitted.recipe, device)]
    if look.seen:
        risks += _in_pictures(fitted.recipe, look, fitted.measures)
    if all(check.state == "ok" for check in risks):
        risks.append(Check("risks", "ok", "none of those that are known"))
    return [*checks, *risks]


def check_plan(fitted: Fitted, count: int) -> Check:
    """What the run would be."""
    recipe, plan = fitted.recipe, make_plan(fitted.recipe, count)
    derived = {value.key: value.value for value in fitted.derived}
    words = ", ".join(f"{value.key} {value.told}" for value in fitted.derived)
    told = (
        f"{counted(settled(recipe.training.epochs), 'epoch')} of {counted(plan.steps_per_epoch, 'step')} with "
        f"{recipe.training.batch_size} pictures, {settled(recipe.model.prototypes):,} prototypes"
        f"{f'; auto: {words}' if words else ''}"
    )
    values = {"steps": plan.steps, "derived": derived, "name": recipe.name}
    return Check("plan", "ok", told, values=values)


# --- numbers against each other --------------------------------------------------------------------------------------


def _in_numbers(recipe: Recipe, count: int) -> Iterator[Check]:
    """
    Args:
        count: pictures that there are.
    """
    batch, epochs = settled(recipe.training.batch_size), settled(recipe.training.epochs)
    prototypes, queue = settled(recipe.model.prototypes), settled(recipe.loss.queue.length)
    plan = make_plan(recipe, count)
    if count < PICTURES_A_PROTOTYPE * prototypes:
        yield Check(
            "prototypes", "problem" if prototypes > count else "warning",
            f"{prototypes:,} for {counted(count, 'picture')}: most would stand for a picture or two, or for none",
            f"--set model.prototypes={max(2, count // 10)}",
        )  # fmt: skip
    if recipe.objective == "swav" and PROTOTYPES_A_PICTURE * (batch + queue) < prototypes:
        queued = f" and a queue of {queue:,}" if queue else ", without a queue,"
        yield Check(
            "batch", "warning",
            f"codes share {batch} pictures{queued} out among {prototypes:,} prototypes",
            f"--set loss.queue.length={_usual_queue(count, batch, prototypes)}, or fewer model.prototypes",
        )  # fmt: skip
    if queue > QUEUE_SHARE * count:
        yield Check(
            "queue", "warning",
            f"{queue:,} embeddings of {counted(count, 'picture')}: it holds many of a batch's pictures, as they were",
            f"--set loss.queue.length={count // 4 // batch * batch}",
        )  # fmt: skip
    if 0 < plan.steps < FEW_STEPS:
        yield Check(
            "steps", "warning", f"{counted(plan.steps, 'step')} in all teach next to nothing",
            f"--epochs {math.ceil(epochs * FEW_STEPS / plan.steps)} or more, or a smaller --batch-size",
        )  # fmt: skip
    if recipe.schedule.warmup_epochs > WARM_SHARE * epochs:
        yield Check(
            "warm-up", "warning",
            f"schedule.warmup_epochs ({recipe.schedule.warmup_epochs:g}) takes more than half of "
            f"{counted(epochs, 'epoch')}", f"--set schedule.warmup_epochs={max(1, epochs // 10)}, or more --epochs",
        )  # fmt: skip
    if plan.frozen_steps and count < SMALL_DATA:
        yield Check(
            "freezing", "warning",
            f"prototypes stay as they are for {counted(plan.frozen_steps, 'step')}, which was found to do harm below "
            f"{SMALL_DATA:,} pictures", "--set loss.freeze_prototypes_steps=0",
        )  # fmt: skip


def _usual_queue(count: int, batch: int, prototypes: int) -> int:
    """Whole batches up to the number of prototypes, at most a quarter of the pictures."""
    return max(1, min(math.ceil((prototypes - batch) / batch), count // 4 // batch)) * batch


# --- settings --------------------------------------------------------------------------------------------------------


def _in_settings(recipe: Recipe, device: torch.device) -> Iterator[Check]:
    spread, epsilon = first_spread(recipe.model.embedding_dim), recipe.loss.epsilon
    if recipe.objective == "swav" and recipe.loss.epsilon_of_spread is None and epsilon > spread:
        yield Check(
            "epsilon", "warning",
            f"loss.epsilon ({epsilon:g}) is above the spread with which scores begin ({spread:.3f} with "
            f"{recipe.model.embedding_dim} dimensions): codes are not sharp", f"--set loss.epsilon={spread / 3:.2g}",
        )  # fmt: skip
    precision, auto = recipe.training.precision, pick_precision(device)[0]
    if precision == "bf16" and auto != "bf16":
        yield Check(
            "precision", "warning", f"training.precision is bf16, and this {device.type} is not good at it",
            "--precision auto",
        )  # fmt: skip
    if precision == "float64":
        yield Check(
            "precision", "warning", "training.precision is float64: exact, and many times slower", "--precision auto"
        )
    workers, cores = recipe.training.workers, own_processors()
    if workers != "auto" and workers > max(1, cores):
        yield Check(
            "workers", "warning",
            f"training.workers ({workers}) is more than the {counted(cores, 'core')} that may be used",
            "--set training.workers=auto",
        )  # fmt: skip


# --- pictures --------------------------------------------------------------------------------------------------------


def _in_pictures(recipe: Recipe, look: Look, measures: bool) -> list[Check]:
    found = [*_in_crops(recipe, look), check_normalisation(recipe, look, measures)]
    augment = recipe.augment
    colours = augment.jitter > 0 and (augment.hue > 0 or augment.saturation > 0)
    if look.gray >= MOSTLY_GRAY and recipe.data.channels > 1 and (colours or augment.grayscale > 0):
        found.append(
            Check(
                "colour", "warning",
                f"{look.gray:.0%} of the pictures are gray: augment.saturation, hue and grayscale do next to nothing, "
                "and channels are copies of one",
                "--set data.channels=1 --set data.mean=auto --set data.std=auto",
            )
        )  # fmt: skip
    return found


def _in_crops(recipe: Recipe, look: Look) -> Iterator[Check]:
    least = min(crop.scale[0] for crop in recipe.crops if crop.assign)
    if least < LITTLE_OF_A_PICTURE:
        yield Check(
            "crops", "warning",
            f"crops that give codes may show {least:.0%} of a picture, and two of them nothing in common",
            "--set crops.0.scale='[0.4, 1.0]'",
        )  # fmt: skip
    areas = look.sizes.prod(axis=1)
    middle = look.sizes[int(areas.argsort()[len(areas) // 2])][None]
    for number, crop in enumerate(recipe.crops):
        usual = crop.model_copy(update={"scale": (crop.scale[0], sum(crop.scale) / 2)})
        times = float(enlargement(middle, usual)[0])
        if times > MOSTLY_ENLARGED:
            yield Check(
                f"crops.{number}", "warning",
                f"a usual crop of {crop.size} pixels is a part of the middle picture enlarged {times:.1f} times: work "
                "without detail", f"--set crops.{number}.size={max(8, int(crop.size / times // 8 * 8))}",
            )  # fmt: skip


def check_normalisation(recipe: Recipe, look: Look, measures: bool) -> Check:
    """Mean and deviation of pixels as they are read against those that the recipe takes off."""
    measured = look.statistics()
    assert measured is not None
    mean, std = measured
    wanted_mean, wanted_std = settled(recipe.data.mean), settled(recipe.data.std)
    shift = max((abs(m - w) / s for m, w, s in zip(mean, wanted_mean, wanted_std, strict=True)), default=0.0)
    times = [s / w for s, w in zip(std, wanted_std, strict=True)]
    values = {"mean": mean, "std": std}
    told = f"pixels have mean {_numbers(mean)} and deviation {_numbers(std)}"
    if measures:
        return Check("normalisation", "ok", f"{told}, and so normalised", values=values)
    told += f"; the recipe takes {_numbers(wanted_mean)} and {_numbers(wanted_std)}"
    if shift > FAR_MEAN or min(times) < LEAST_STD or max(times) > MOST_STD:
        return Check("normalisation", "warning", told, "--set data.mean=auto --set data.std=auto", values)
    return Check("normalisation", "ok", told, values=values)


def _numbers(values: list[float]) -> str:
    return "[" + ", ".join(f"{value:.2f}" for value in values) + "]"

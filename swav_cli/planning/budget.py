"""A run planned to a time, `--minutes`: the largest network and crops with which enough epochs fit.

How long steps take is measured by who asks (`Speed`), and what else takes time is counted: bringing pictures into
memory, a look at some after each epoch, checkpoints, judging. The plan is made of plain values of the recipe.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import NamedTuple

from swav_cli.core.sample import LEAST, MOST, SHARE
from swav_cli.errors import UserError, counted
from swav_cli.planning.derive import Derived, usual_batch_size, usual_epochs, value_of, with_values
from swav_cli.planning.smaller import Changes, is_held, smaller_recipes
from swav_cli.recipe.schema import Recipe

RESERVE = 0.06  # of the time, for what is not counted
ENOUGH = 0.5  # of a recipe's epochs, for which a larger network or larger crops are given up
AT_MOST = 5  # times a recipe's epochs: more teach little
NEARLY = 0.8  # of the epochs of the smallest: where reading takes the time, a smaller network saves none
JUDGED = 5  # times in a run, the end among them
FEW_STEPS, LEAST_BATCH = 1000, 64
WARMING = 0.2  # of the epochs, above which a warm-up leaves too few
COSINES = 3e7  # a second, of k-NN on a processor
SHEET = 5000  # pictures among which those of prototypes.png are chosen
PAIRED = 500  # pictures of which two views are compared, where no labels judge


# What a plan may set, beside the sizes of crops.
PLANNED = (
    "training.minutes", "model.backbone", "model.width", "augment.blur_sigma", "training.epochs", "training.batch_size",
    "schedule.warmup_epochs", "loss.queue.start_epoch", "loss.freeze_prototypes_steps", "evaluation.knn_every",
)  # fmt: skip


class Speed(NamedTuple):
    """How quick a recipe is on this machine."""

    rate: float  # pictures a second in training, with reading
    looking: float  # seconds that a trained network takes for a picture that it judges
    reading: float = 0.0  # share of the time of training in which pictures are read
    filling: float = 0.0  # seconds a picture takes to be brought into memory, once
    saving: float = 0.0  # seconds a checkpoint takes


class Wish(NamedTuple):
    """What a plan has to fit."""

    minutes: float
    pictures: int
    bank: int = 0  # labelled pictures that k-NN learns from, and that it is asked about; 0: no labels judge
    queries: int = 0
    spent: float = 0.0  # seconds that have passed already
    held: Collection[str] = ()  # keys of values that stay


class Times(NamedTuple):
    """Seconds of a run."""

    before: float
    training: float
    judging: float

    @property
    def total(self) -> float:
        return sum(self)


class Planned(NamedTuple):
    """A way to spend the time."""

    changes: Changes
    recipe: Recipe  # with them
    speed: Speed
    epochs: int  # that fit; 0: not one
    times: Times


def plan_to(
    recipe: Recipe, wish: Wish, speed_of: Callable[[Recipe], Speed], from_above: bool = False
) -> tuple[Recipe, list[Derived]]:
    """The recipe with network, crops, epochs and batch such that its run takes so many minutes, and the reasons.

    Args:
        speed_of: measures a recipe of which only network and crops count.
        from_above: try the recipe's own first: where it is quick, as on a GPU, and measuring is not.

    Raises:
        UserError: not even one epoch of the least fits; with the minutes that do.
    """
    usual = usual_epochs(recipe, wish.pictures)
    is_fixed = is_held("training.epochs", wish.held)
    enough = usual if is_fixed else math.ceil(ENOUGH * usual)
    most = usual if is_fixed else AT_MOST * usual

    def planned(changes: Changes) -> Planned:
        changed = with_values(recipe, changes)
        speed = speed_of(changed)
        epochs = epochs_that_fit(changed, wish, speed, most)
        return Planned(changes, changed, speed, epochs, times(changed, epochs or 1, wish, speed))

    ways = smaller_recipes(recipe, wish.held)
    whole = planned(ways[-1]) if from_above else None
    best = whole if whole and whole.epochs >= enough else _largest(ways, planned, enough)
    if best.epochs < (usual if is_fixed else 1):
        raise UserError(_too_few(best, wish, usual if is_fixed else 1))
    return _settled_to(recipe, wish, best, usual)


def _largest(ways: list[Changes], planned: Callable[[Changes], Planned], enough: int) -> Planned:
    """The largest way with enough epochs; where there is none, with as many as the smallest has, or nearly so."""
    best = planned(ways[0])
    needed = max(1, min(enough, NEARLY * best.epochs))
    for changes in ways[1:]:
        found = planned(changes)
        if found.epochs < needed:
            break
        best = found
    return best


def times(recipe: Recipe, epochs: int, wish: Wish, speed: Speed) -> Times:
    """How long a run takes.

    Args:
        recipe: with its network and crops; its epochs don't count.
    """
    n = wish.pictures
    sample = min(n, MOST, max(LEAST, int(SHARE * n)))
    an_epoch = n / speed.rate + sample * speed.looking + speed.saving
    labelled = wish.bank + wish.queries
    one_look = labelled * speed.looking + wish.bank * wish.queries / COSINES
    every = judged_every(recipe, epochs, wish.held)
    between = (epochs - 1) // every if every and labelled else 0
    at_the_end = 3 * one_look if labelled else 6 * min(n, PAIRED) * speed.looking  # untrained, and raw pixels beside it
    return Times(
        wish.spent + n * speed.filling, epochs * an_epoch,
        between * one_look + at_the_end + min(n, SHEET) * speed.looking,
    )  # fmt: skip


def judged_every(recipe: Recipe, epochs: int, held: Collection[str]) -> int:
    """Epochs between two judgements, so that these don't take the time of training."""
    own = recipe.evaluation.knn_every
    return own if not own or is_held("evaluation.knn_every", held) else max(own, math.ceil(epochs / JUDGED))


def epochs_that_fit(recipe: Recipe, wish: Wish, speed: Speed, most: int) -> int:
    """The most epochs that end in time; 0 where not even one does."""
    seconds = (1 - RESERVE) * 60 * wish.minutes
    low, high = 0, most
    while low < high:  # they take longer the more they are
        middle = (low + high + 1) // 2
        if times(recipe, middle, wish, speed).total <= seconds:
            low = middle
        else:
            high = middle - 1
    return low


def as_planned(recipe: Recipe, begun: Recipe, held: Collection[str]) -> Recipe:
    """A recipe with the plan that a run of it began with, which is made once and kept."""
    keys = [*PLANNED]
    if len(recipe.crops) == len(begun.crops):
        keys += [f"crops.{position}.size" for position in range(len(recipe.crops))]
    return with_values(recipe, {key: value_of(begun, key) for key in keys if not is_held(key, held)})


def _settled_to(recipe: Recipe, wish: Wish, best: Planned, usual: int) -> tuple[Recipe, list[Derived]]:
    """The recipe as it will run, with all that was chosen."""
    found = [Derived("training.minutes", wish.minutes, _told(best, wish))]
    fitting = (
        f"the largest network and crops with which {math.ceil(ENOUGH * usual)} epochs fit, half of the usual {usual}"
    )
    if is_held("training.epochs", wish.held):
        fitting = f"the largest network and crops with which {counted(usual, 'epoch')} fit"
    elif best.epochs < math.ceil(ENOUGH * usual):
        fitting = "little time: as many epochs as can be had"
    for key, value in best.changes.items():
        found.append(Derived(key, value, _own(recipe, key) + (f": {fitting}" if len(found) == 1 else "")))
    found += [each for each in _course(recipe, wish, best, usual) if not is_held(each.key, wish.held)]
    values = {each.key: each.value for each in found}
    return with_values(recipe, values), [each for each in found if value_of(recipe, each.key) != each.value]


def _own(recipe: Recipe, key: str) -> str:
    value = value_of(recipe, key)
    return "in proportion to the crops" if key == "augment.blur_sigma" else f"in place of {value}"


def _course(recipe: Recipe, wish: Wish, best: Planned, usual: int) -> list[Derived]:
    """Epochs and batch, and what has to be within them."""
    epochs, n = best.epochs, wish.pictures
    most = f"; {AT_MOST} times the usual {usual} are the most" if epochs == AT_MOST * usual else ""
    found = [Derived("training.epochs", epochs, f"as many as end in {wish.minutes:g} minutes{most}")]
    batch = usual_batch = usual_batch_size(recipe, n)
    if recipe.training.batch_size == "auto":
        while n // batch * epochs < FEW_STEPS and batch >= 2 * LEAST_BATCH:
            batch //= 2
        if batch < usual_batch:
            found.append(Derived("training.batch_size", batch, f"in place of {usual_batch}: more steps, which are few"))
    warmup, queue, frozen = recipe.schedule.warmup_epochs, recipe.loss.queue, recipe.loss.freeze_prototypes_steps
    if warmup > WARMING * epochs:
        found.append(Derived("schedule.warmup_epochs", round(epochs / 10, 2), f"a tenth of {counted(epochs, 'epoch')}"))
    share, why = epochs / usual, f"in proportion to {epochs} of {usual} epochs"
    if share < 1 and queue.length and queue.start_epoch != "auto":
        found.append(Derived("loss.queue.start_epoch", int(share * queue.start_epoch), why))
    if share < 1 and frozen != "auto":
        found.append(Derived("loss.freeze_prototypes_steps", int(share * frozen), why))
    every = judged_every(recipe, epochs, wish.held)
    if recipe.data.val and every != recipe.evaluation.knn_every:
        found.append(Derived("evaluation.knn_every", every, "judging takes time from training"))
    return found


def _told(best: Planned, wish: Wish) -> str:
    before, training, judging = best.times
    reading = f", {best.speed.reading:.0%} of it reading" if best.speed.reading >= 0.1 else ""
    return (
        f"as measured here: {_seconds(training)} of training at {best.speed.rate:,.0f} pictures/s{reading}, "
        f"{_seconds(before)} before it and {_seconds(judging)} to judge it"
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _too_few(best: Planned, wish: Wish, epochs: int) -> str:
    """What would do, in a line."""
    needed = times(best.recipe, epochs, wish, best.speed).total / 60 / (1 - RESERVE)
    least = math.ceil(needed) if needed > 1 else math.ceil(10 * needed) / 10  # whole minutes, else tenths
    what = "of the narrowest network and smallest crops that are tried" if best.changes else "of what is asked for"
    fewer = max(100, int(0.9 * wish.pictures * wish.minutes / needed / 100) * 100)
    smaller = f", or fewer pictures, such as --set data.limit={fewer}" if fewer < wish.pictures else ""
    return (
        f"--minutes {wish.minutes:g}: {counted(epochs, 'epoch')} {what}, on {counted(wish.pictures, 'picture')} and "
        f"with judging, takes {needed:.1f} minutes on this machine; give --minutes {least:g} or more{smaller}"
    )

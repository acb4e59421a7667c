"""Is a run in trouble? Told in words, from an epoch's numbers: what shows it, the likeliest cause, what to change.

Codes may go flat: all pictures get the same scores, and the loss sits at ln K. Steps too large throw a network about,
with a loss above ln K. Or it agrees with itself about nothing: the loss may fall, and embeddings use few directions. A
queue of embeddings that another network made, some epochs ago, leaves codes that tell old from new. Pictures may come
in values that no network is made for.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from swav_cli.core.health import Health
from swav_cli.errors import counted
from swav_cli.recipe.schema import Recipe, settled

FLAT = 0.92  # of ln K: entropy of codes from which on they tell nothing
NEAR_LN_K = 0.98  # share of ln K from which on the predictions tell nothing
ABOVE_LN_K = 1.05  # the same from which on a network does worse than one that knows nothing
SPREAD = 0.025  # of scores, at or below which all pictures look alike to the prototypes
SURE = 0.05  # spread of scores from which on predictions are sure of themselves
FEW_DIRECTIONS = 2.0  # effective rank of embeddings below which next to nothing is told apart
LITTLE_OF_A_PICTURE = 0.1  # area of a crop below which two of them often share nothing
COPIES = 0.5  # share of different pictures, of some, below which the others are copies

JUMP = 0.05  # of ln K by which the loss may rise when the queue begins
SHARPENING = 0.5  # share of the entropy of codes that has to be left then
FAR_FROM_0, FAR_FROM_1 = 3.0, 5.0  # a mean beyond, and a deviation beyond or below its inverse, fit no picture

Kind = Literal["warming up", "healthy", "flat", "thrown about", "narrow", "stale queue", "not normalised"]


class Verdict(NamedTuple):
    """How a run is doing.

    >>> Verdict("healthy").advice
    ''
    """

    verdict: Kind
    advice: str = ""  # for one in trouble: what shows it, the likeliest cause, what to change

    @property
    def is_collapse(self) -> bool:
        """Whether nothing is learnt any more; other troubles cost quality alone."""
        return self.verdict in ("flat", "thrown about", "narrow")


def verdict(recipe: Recipe, health: Health, share_of_ln_k: float, warm: bool) -> Verdict:
    """What an epoch's numbers say of a run.

    Args:
        share_of_ln_k: of the epoch's mean loss.
        warm: prototypes and learning rate have been what they are to be for an epoch; before that a loss near ln K is
            as it should be.
    """
    found = _collapse(recipe, health, share_of_ln_k) if warm else None
    found = found or _of_the_queue(recipe, health) or _of_pixels(health)
    return found or Verdict("healthy" if warm else "warming up")


def _collapse(recipe: Recipe, health: Health, share_of_ln_k: float) -> Verdict | None:
    has_codes = recipe.objective == "swav"  # those of clusters are never flat
    if share_of_ln_k >= NEAR_LN_K and health.spread <= SPREAD and (health.code_entropy >= FLAT or not has_codes):
        codes = f", codes are flat (entropy {health.code_entropy:.3f} of ln K)" if has_codes else ""
        return Verdict(
            "flat",
            f"nothing is being learnt: the loss sits at ln K ({share_of_ln_k:.3f} of it){codes} and all pictures get "
            f"nearly the same scores (spread {health.spread:.3f}). {_why_flat(recipe, health)}",
        )
    if share_of_ln_k >= ABOVE_LN_K and health.spread >= SURE:
        return Verdict(
            "thrown about",
            f"the loss is above ln K ({share_of_ln_k:.3f} of it), so that predictions are worse than none; "
            f"{counted(health.twins, 'prototype')} of {recipe.model.prototypes} lie on others. Steps are too large: "
            f"try --set optimizer.lr={_tenth(recipe)}",
        )
    if health.rank < FEW_DIRECTIONS:
        softer = f", a larger loss.epsilon{'' if recipe.loss.epsilon_of_spread is None else '_least'}"
        return Verdict(
            "narrow",
            f"the network agrees with itself about next to nothing: embeddings use {health.rank:.1f} directions "
            f"(deviation {health.deviation:.2f} of 1), whatever the loss ({share_of_ln_k:.3f} of ln K). "
            f"Try a lower rate (--set optimizer.lr={_tenth(recipe)}){softer if has_codes else ''}, or stronger "
            "augmentation",
        )
    return None


def _of_pixels(health: Health) -> Verdict | None:
    told = _why_not_normalised(health)
    return Verdict("not normalised", told) if told else None


def _why_not_normalised(health: Health) -> str:
    mean, deviation = health.pixel_mean, health.pixel_deviation
    if mean is None or deviation is None or not deviation:  # pictures of one colour say nothing of their scale
        return ""
    if abs(mean) <= FAR_FROM_0 and 1 / FAR_FROM_1 <= deviation <= FAR_FROM_1:
        return ""
    return (
        f"pictures reach the network with a mean of {mean:.3g} and a deviation of {deviation:.3g}, and should with "
        "about 0 and 1: data.mean and data.std are not those of these pictures (0 to 1); try --set data.mean=auto "
        "--set data.std=auto"
    )


def _of_the_queue(recipe: Recipe, health: Health) -> Verdict | None:
    jump, sharpening = health.queue_jump, health.queue_sharpening
    if jump is None or sharpening is None or (jump <= JUMP and sharpening >= SHARPENING):
        return None
    shown = f"the loss rose by {jump:.3f} of ln K"
    if jump <= JUMP:
        shown = f"from one epoch to the next codes became {1 / sharpening:.1f} times as sharp, which no network learns"
    length = settled(recipe.loss.queue.length)
    return Verdict(
        "stale queue",
        f"when the queue began, {shown}: the oldest of its {length} embeddings are {health.queue_epochs:.2g} epochs "
        "old, made by another network than today's, and codes tell old from new. Try a shorter queue (--set "
        f"loss.queue.length={length // 4}), a later start (loss.queue.start_epoch), or a lower optimizer.lr",
    )


def first_spread(embedding_dim: int) -> float:
    """Of scores before any training: the deviation of the cosine of two random directions."""
    return 1 / math.sqrt(embedding_dim)


def _why_flat(recipe: Recipe, health: Health) -> str:
    of_pixels = _why_not_normalised(health)
    if of_pixels:
        return of_pixels[0].upper() + of_pixels[1:]
    if health.distinct is not None and health.distinct < COPIES:
        return (
            f"Of some pictures looked at, {health.distinct:.0%} differ and the others are copies: nothing tells them "
            "apart; train on different ones"
        )
    natural = first_spread(recipe.model.embedding_dim)
    has_codes, fixed = recipe.objective == "swav", recipe.loss.epsilon_of_spread is None
    if has_codes and fixed and recipe.loss.epsilon > natural:
        return (
            f"loss.epsilon ({recipe.loss.epsilon:g}) is above the spread with which scores begin "
            f"({natural:.3f}), so that codes were never sharp; try --set loss.epsilon={natural / 3:.2g}"
        )
    least = min(crop.scale[0] for crop in recipe.crops if crop.assign)
    if least < LITTLE_OF_A_PICTURE:
        given = "codes" if has_codes else "targets"
        return (
            f"Crops that give {given} may show {least:.0%} of a picture, and two of them nothing in common; try "
            "--set crops.0.scale='[0.4, 1.0]'"
        )
    sharper = "epsilon_of_spread=0.2" if fixed else f"epsilon_least={recipe.loss.epsilon_least / 2:.2g}"
    first = f"codes that stay sharp (--set loss.{sharper})" if has_codes else "fewer prototypes"
    return f"Try {first}, crops that share more of a picture (a larger crops.0.scale), or a higher optimizer.lr"


def _tenth(recipe: Recipe) -> str:
    return f"{settled(recipe.optimizer.lr) / 10:g}"

"""What a run is: a recipe of pretraining whose values do not contradict each other."""

from __future__ import annotations

from typing import TypeVar

from pydantic import model_validator

from swav_cli.recipe.contradictions import contradictions
from swav_cli.recipe.part import Auto, ContradictionError
from swav_cli.recipe.sections import Sections


class Recipe(Sections):
    """All that a run of `swav pretrain` is.

    >>> from swav_cli import load_recipe
    >>> load_recipe("in1k-200e").training.batch_size
    256
    """

    @model_validator(mode="after")
    def _no_contradictions(self) -> Recipe:
        problems = contradictions(self)
        if problems:
            raise ContradictionError(problems)
        return self


Value = TypeVar("Value")


def settled(value: Value | Auto) -> Value:
    """A value of a recipe in which `derive` has replaced every `auto`.

    Raises:
        ValueError: it has not.
    """
    if value == "auto":
        raise ValueError("this recipe says auto; swav_cli.planning.derive.derive replaces it")
    return value

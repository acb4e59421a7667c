"""Recipes as a page shows them: every value with what it means, why it was derived, and where runs differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from swav_cli.recipe.file import flat_values
from swav_cli.recipe.words import place_of
from swav_cli.report.pages.subjects import Subject


class Row(NamedTuple):
    key: str
    values: list[str]  # of each run; empty where its recipe has no such key
    reason: str  # why a value was derived
    meaning: str
    differs: bool  # among the runs that have it


def recipe_rows(subjects: Sequence[Subject]) -> list[Row]:
    """A row for each key that some run's recipe has."""
    recipes = [flat_values(subject.recipe) for subject in subjects]
    keys = dict.fromkeys(key for recipe in recipes for key in recipe)
    return [_row(key, recipes, subjects) for key in keys]


def _row(key: str, recipes: Sequence[dict[str, Any]], subjects: Sequence[Subject]) -> Row:
    values = [_shown(recipe[key]) if key in recipe else "" for recipe in recipes]
    reasons = dict.fromkeys(_reasons(key, subjects))
    place = next(
        place_of(key.split("."), type(s.recipe)) for s, recipe in zip(subjects, recipes, strict=True) if key in recipe
    )
    meaning = place.field.description if place.field is not None else None
    known = {value for value, recipe in zip(values, recipes, strict=True) if key in recipe}
    return Row(key, values, "; ".join(reasons), meaning or "", len(known) > 1)


def _reasons(key: str, subjects: Sequence[Subject]) -> Iterator[str]:
    for subject in subjects:
        derived = subject.derived.get(key)
        if derived is not None:
            yield str(derived["reason"])


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

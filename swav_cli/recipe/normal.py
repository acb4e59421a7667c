"""The normal course of a shipped recipe: what its numbers were in runs that went well, over the share of the run.

`recipes/courses/NAME.json` holds them, written by `benchmarks/courses.py` from the logs of several seeds.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from swav_cli.recipe.file import load_recipe, shipped_recipes


class Course(NamedTuple):
    """What is normal at some point of a run: between `low` and `high`, about `middle`."""

    share: float  # of the run, 0 to 1
    low: float
    middle: float
    high: float


Courses = Mapping[str, Sequence[Course]]  # by the key in `metrics.jsonl`


def normal_courses(name: str, train: str, objective: str = "swav") -> Courses:
    """Of runs of a recipe on its own pictures; none where nobody has measured them, or the pictures are others.

    >>> sorted(normal_courses("quickstart", "shapes:5000"))
    ['loss_over_ln_k', 'rank', 'used_prototypes']
    >>> normal_courses("quickstart", "photos")
    {}

    Args:
        name: of the recipe.
        train: its pictures, as `data.train` has them.
        objective: by which they are trained.
    """
    measured = _measured(name)
    if not measured:
        return {}
    recipe = load_recipe(name)
    return measured if (recipe.data.train, recipe.objective) == (train, objective) else {}


@cache
def _measured(name: str) -> Courses:
    of_shipped = shipped_recipes().get(name)
    path = of_shipped.parent / "courses" / f"{name}.json" if of_shipped else None
    if path is None or not path.is_file():
        return {}
    told = json.loads(path.read_text(encoding="utf-8"))["courses"]
    return {key: [Course(*each) for each in course] for key, course in told.items()}


def normal_at(course: Sequence[Course], share: float) -> Course:
    """At a share of the run: between the two points that it lies between, on a straight line.

    >>> normal_at([Course(0.0, 1.0, 1.0, 1.0), Course(1.0, 0.4, 0.5, 0.6)], 0.5)
    Course(share=0.5, low=0.7, middle=0.75, high=0.8)
    """
    shares = [each.share for each in course]
    place = bisect_left(shares, share)
    if place in (0, len(course)):
        return course[min(place, len(course) - 1)]
    before, after = course[place - 1], course[place]
    part = (share - before.share) / (after.share - before.share)
    return Course(*(round(a + part * (b - a), 6) for a, b in zip(before, after, strict=True)))

"""Normal courses: where they apply, what they say between two points, and that those shipped are of their recipes."""

from __future__ import annotations

import pytest

from swav_cli.recipe.file import load_recipe, shipped_recipes
from swav_cli.recipe.normal import Course, normal_at, normal_courses

MEASURED = ["quickstart"]


@pytest.mark.parametrize(("share", "middle"), [(0.0, 1.0), (0.1, 1.0), (0.3, 0.9), (0.5, 0.8), (0.8, 0.65), (1.0, 0.6)])
def test_between_two_points_it_lies_on_a_line(share: float, middle: float) -> None:
    course = [Course(0.1, 0.9, 1.0, 1.1), Course(0.5, 0.7, 0.8, 0.9), Course(0.9, 0.5, 0.6, 0.7)]
    found = normal_at(course, share)
    assert found.middle == pytest.approx(middle)
    assert (found.low, found.high) == (pytest.approx(middle - 0.1), pytest.approx(middle + 0.1))


@pytest.mark.parametrize("name", MEASURED)
def test_those_shipped_go_over_the_whole_run_and_hold_their_middle(name: str) -> None:
    recipe = load_recipe(name)
    courses = normal_courses(name, recipe.data.train)
    assert set(courses) == {"loss_over_ln_k", "used_prototypes", "rank"}
    for course in courses.values():
        assert [each.share for each in course] == sorted({each.share for each in course})
        assert course[-1].share == 1
        assert all(each.low <= each.middle <= each.high for each in course)
    loss = courses["loss_over_ln_k"]
    assert loss[-1].middle < loss[0].middle


def test_they_are_of_the_recipes_own_pictures_alone() -> None:
    assert normal_courses("quickstart", "photos") == {}
    assert normal_courses("mine", "shapes:5000") == {}


def test_no_other_recipe_has_one() -> None:
    courses = next(iter(shipped_recipes().values())).parent / "courses"
    assert sorted(path.stem for path in courses.glob("*")) == MEASURED

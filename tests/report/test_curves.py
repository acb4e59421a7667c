from __future__ import annotations

import math
import random

import pytest

from swav_cli.report.curves import DOTS, LABEL, Curve, draw


def dots(lines: list[str]) -> set[tuple[int, int]]:
    """Columns and rows of a braille picture's dots."""
    bits = {DOTS[x][y]: (x, y) for x in range(2) for y in range(4)}
    found = set()
    for row, line in enumerate(lines):
        for column, letter in enumerate(line[LABEL + 2 :]):
            number = ord(letter) - 0x2800 if letter != " " else 0
            found |= {(2 * column + x, 4 * row + y) for bit, (x, y) in bits.items() if number & bit}
    return found


def test_each_place_has_the_dot_of_its_value_and_the_line_is_whole() -> None:
    rng = random.Random(0)
    width, height = 40, 6
    across = 2 * (width - LABEL - 2)
    values = [rng.random() for _ in range(across)]
    title, *lines = draw(Curve("loss", range(across), values), width, height)
    assert title.split() == ["loss", f"{values[-1]:.3g}"]
    assert {len(line) for line in lines} == {width}
    found = dots(lines)
    least, most = min(values), max(values)
    for x, value in enumerate(values):
        assert (x, round((most - value) / (most - least) * (4 * height - 1))) in found
    for x in range(1, across):  # from each column to the next there is no gap
        here, there = ({y for column, y in found if column == at} for at in (x, x - 1))
        assert min(abs(a - b) for a in here for b in there) <= 1


@pytest.mark.parametrize("values", [[1.0, 1.0], [0.0, 0.0, 0.0], [-3.0], [1e-9, 2e9], [5.0, -5.0]])
@pytest.mark.parametrize("braille", [True, False])
def test_any_numbers_fit_into_the_room(values: list[float], braille: bool) -> None:
    lines = draw(Curve("a very long title that has no room", range(len(values)), values), 20, 4, braille)
    assert [len(line) for line in lines] == [20] * 5
    assert braille or all(ord(letter) < 128 for line in lines for letter in line)


def test_many_points_are_averaged_and_few_joined() -> None:
    many = draw(Curve("", range(10_000), [math.sin(x / 1600) for x in range(10_000)]), 40, 6)
    few = draw(Curve("", range(0, 10_000, 100), [math.sin(x / 1600) for x in range(0, 10_000, 100)]), 40, 6)
    a, b = dots(many[1:]), dots(few[1:])
    assert all(any(abs(x - u) + abs(y - v) <= 1 for u, v in b) for x, y in a)

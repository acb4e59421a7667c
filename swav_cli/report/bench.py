"""What was measured of a machine and a recipe: a table, a line that concludes, and what to change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.table import Table

from swav_cli.printable import printable, printable_lines
from swav_cli.report.tables import render


class Row(NamedTuple):
    """One thing that was measured; neither rate nor time where it could not be."""

    key: str  # for programs
    name: str
    rate: float | None = None  # pictures a second
    seconds: float | None = None  # of a step
    told: str = ""
    values: Mapping[str, Any] = {}  # the same and more as plain values, for programs

    @property
    def facts(self) -> dict[str, Any]:
        """All of it as plain values."""
        found = {"pictures_per_second": self.rate, "seconds": self.seconds}
        return {**{name: value for name, value in found.items() if value is not None}, **self.values}


class Conclusion(NamedTuple):
    """What sets the pace, and what would change that."""

    bound: str  # reading, views, update, launches, memory, arithmetic
    told: str
    change: Sequence[str]


class Bench(NamedTuple):
    """All that `swav bench` found."""

    about: Mapping[str, str]  # what was measured, where and on which pictures, each in words
    settings: Mapping[str, Any]  # the same as plain values
    rows: Sequence[Row]
    conclusion: Conclusion


def bench_json(bench: Bench) -> dict[str, Any]:
    """For programs: each row by its key; `not_measured` holds the reason where there is none."""
    rows = {row.key: row.facts for row in bench.rows}
    return {**bench.settings, "rows": rows, **bench.conclusion._asdict()}


def bench_text(bench: Bench) -> str:
    """As wide as the terminal."""
    head = Table(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
    for name, words in bench.about.items():
        head.add_row(name, printable(words))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("pictures/s", justify="right", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("")
    for row in bench.rows:
        table.add_row(row.name, number(row.rate), number(row.seconds and 1000 * row.seconds), printable(row.told))
    last = Table(box=None, padding=(0, 1, 0, 0), show_header=False, pad_edge=False)
    last.add_row("=>", printable(bench.conclusion.told))
    for words in bench.conclusion.change:
        last.add_row("->", printable(words))
    return printable_lines("\n".join([render(head), "", render(table), "", render(last)]))


def number(value: float | None) -> str:
    """In as many digits as a measurement has.

    >>> number(1141.3), number(224.51), number(3.654), number(None)
    ('1,141', '224.5', '3.65', '')
    """
    if value is None:
        return ""
    return f"{value:,.{0 if value >= 1000 else 1 if value >= 10 else 2}f}"

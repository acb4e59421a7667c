"""Tables of a command's result, as wide as the terminal."""

from __future__ import annotations

import io
import shutil
from typing import Any

from rich.console import Console
from rich.table import Table

from swav_cli.core.recipe import Recipe


def recipe_rows(recipes: list[Recipe]) -> list[dict[str, Any]]:
    return [
        {
            "name": recipe.name,
            "data": recipe.data.train,
            "epochs": recipe.training.epochs,
            "batch": recipe.training.batch_size,
            "result": recipe.reference or "",
        }
        for recipe in recipes
    ]


def recipe_table(rows: list[dict[str, Any]]) -> str:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("name", "data", "epochs", "batch", "result"):
        table.add_column(name, justify="right" if name in ("epochs", "batch") else "left", no_wrap=name == "name")
    for row in rows:
        table.add_row(*(str(row[name]) for name in ("name", "data", "epochs", "batch", "result")))
    return render(table)


def render(table: Table) -> str:
    """The table as plain text; the same on a terminal and in a file, but for its width."""
    stream = io.StringIO()
    Console(file=stream, width=shutil.get_terminal_size((100, 24)).columns).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())

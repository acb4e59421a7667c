"""Tables of a command's result, as wide as the terminal."""

from __future__ import annotations

import io
import shutil
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH_WITHOUT_TERMINAL = 1000  # a file or a pipe gets one line a row, whatever its length


def recipe_table(rows: list[dict[str, Any]]) -> str:
    table = Table(box=None, pad_edge=False)
    for name in ("name", "data", "epochs", "batch", "result"):
        table.add_column(name, justify="right" if name in ("epochs", "batch") else "left", no_wrap=name == "name")
    for row in rows:
        data = (row["data"] or "the model's").removeprefix("torchvision:")
        table.add_row(row["name"], data, str(row["epochs"]), str(row["batch"]), row["result"] or "")
    return render(table)


def render(table: Table) -> str:
    """The table as plain text; the same on a terminal and in a file, but for its width."""
    stream = io.StringIO()
    Console(file=stream, width=terminal_width(), markup=False, highlight=False).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def terminal_width() -> int:
    return shutil.get_terminal_size((WIDTH_WITHOUT_TERMINAL, 24)).columns

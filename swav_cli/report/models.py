"""Models on the screen: the table of published ones, and all of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from swav_cli.report.tables import render

LEFT = ("name", "network", "licence")
SHAPES = 3  # shown of a group of tensors


def models_table(rows: list[dict[str, Any]]) -> str:
    """Published models, a line each, in 80 columns; `top-1` is in per cent."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    for name in ("name", "network", "params", "epochs", "batch", "top-1", "licence"):
        table.add_column(name, justify="left" if name in LEFT else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["name"],
            row["architecture"],
            f"{row['parameters'] / 1e6:.0f} M",
            str(row["epochs"]),
            "–" if row["batch"] is None else str(row["batch"]),
            f"{row['top1']:.1f}",
            row["licence"],
        )
    return render(table)


def facts_text(facts: dict[str, Any]) -> str:
    """All of one model: a line a fact, then the contents of its file."""
    named = {key: value for key, value in facts.items() if key != "contents" and value not in (None, "", [], 0)}
    width = max(len(key) for key in named)
    lines = [f"{key:{width}}  {fact_words(key, value)}" for key, value in named.items()]
    return "\n".join([*lines, *_contents(facts.get("contents"))])


def fact_words(key: str, value: Any) -> str:
    """A fact of a model as it is told."""
    if key == "classes" and isinstance(value, list):
        return f"{len(value)}: {', '.join(value[:3])}{', …' if len(value) > 3 else ''}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)


def _contents(contents: dict[str, Any] | None) -> Iterator[str]:
    if contents is None:
        return
    if contents["around"]:
        yield "\nin the file"
        width = max(len(key) for key in contents["around"])
        yield from (f"  {key:{width}}  {words}" for key, words in contents["around"].items())
    yield f"\ntensors ({sum(group['count'] for group in contents['tensors'].values())})"
    width = max((len(key) for key in contents["tensors"]), default=0)
    for key, group in contents["tensors"].items():
        shapes = group["shapes"]
        more = f" and {len(shapes) - SHAPES} more" if len(shapes) > SHAPES else ""
        times = f"{group['count']}: " if group["count"] > 1 else ""
        yield f"  {key:{width}}  {times}{', '.join(shapes[:SHAPES])}{more}"

"""What was found about pictures, on a screen."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from swav_cli.errors import counted
from swav_cli.printable import printable
from swav_cli.report.tables import render, terminal_width

SHOWN = 20  # groups
WEAKEST = 2  # pairs of classes
NUMBERS_TAKE = 37  # columns of the terminal: group, pictures, share and purity, with what lies between all
JUDGED = {"clusters": "clusters", "groups": "groups", "as_many_groups_as_classes": "as many as classes"}
NAMES = {"prototypes": "prototypes of the model", "centres": "centres among the features"}


def describe_clusters(results: dict[str, Any]) -> str:
    """A table of the largest groups, then copies, odd pictures, classes and where all of it is."""
    clusters, groups = results["clusters"], results["groups"]
    heading = (
        f"{counted(results['pictures'], 'picture')} of {printable(results['source'])} "
        f"by {printable(results['model'])}: "
        f"{counted(len([each for each in groups if each['group'] >= 0]), 'group')} "
        f"of {counted(clusters['used'], 'cluster')} ({NAMES[clusters['kind']]})"
    )
    if len(heading) > 80:
        heading = heading.replace(": ", ":\n", 1)
    lines = [heading, *([_groups_table(groups)] if groups else [])]
    if len(groups) > SHOWN:
        lines.append(f"and {counted(len(groups) - SHOWN, 'smaller group')}")
    return "\n".join([*lines, *_copies(results), *_classes(results.get("classes", {}))])


def _groups_table(groups: list[dict[str, Any]]) -> str:
    labelled = any(each["commonest"] is not None for each in groups)
    room = max(24, terminal_width() - NUMBERS_TAKE)  # names are cut where there is too little, and no number
    longest = max((len(each["commonest"] or "") for each in groups), default=0)
    of_class = min(max(longest, len("mostly")), room // 3) if labelled else 0
    table = Table(box=None, pad_edge=False)
    for name in ("group", "pictures", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    if labelled:
        table.add_column("mostly", overflow="ellipsis", no_wrap=True, max_width=of_class)
        table.add_column("purity", justify="right", no_wrap=True)
    table.add_column("such as", overflow="ellipsis", no_wrap=True, max_width=room - of_class)
    for each in groups[:SHOWN]:
        number = "none" if each["group"] < 0 else str(each["group"])
        row = [number, f"{each['pictures']:,}", f"{100 * each['share']:.1f} %"]
        row += [printable(each["commonest"] or ""), f"{100 * each['purity']:.1f} %"] if labelled else []
        table.add_row(*row, printable(each["typical"][0]) if each["typical"] else "")
    return render(table)


def _copies(results: dict[str, Any]) -> list[str]:
    copies, outliers = results["copies"], results["outliers"]
    found = (
        f"{counted(copies['delete'], 'picture')} that others stand for, {copies['exact']:,} of them exact; in "
        f"{counted(copies['sets'], 'set')}"
        if copies["delete"]
        else "none"
    )
    lines = [f"copies    {found}", f"outliers  {outliers['count']:,}"]
    if results["unread"]:
        lines.append(f"unread    {results['unread']:,}; their rows in the table say why")
    if "against" in results:
        against = results["against"]
        lines.append(
            f"against   {counted(against['pictures'], 'picture')} are in {printable(against['other'])} too, "
            f"{against['exact']:,} of them exactly"
        )
    return lines


def _classes(judged: dict[str, Any]) -> list[str]:
    if not judged:
        return []
    table = Table(box=None, pad_edge=False)
    table.add_column("against classes", no_wrap=True)
    for name in ("number", "accuracy", "NMI", "adjusted Rand", "purity"):
        table.add_column(name, justify="right", no_wrap=True)
    for key, name in JUDGED.items():
        if key in judged:
            each = judged[key]
            numbers = [f"{each['nmi']:.3f}", f"{each['adjusted_rand']:.3f}", f"{100 * each['purity']:.1f} %"]
            table.add_row(name, f"{each['groups']:,}", f"{100 * each['accuracy']:.1f} %", *numbers)
    weak = [
        f"{printable(pair['first'])} and {printable(pair['second'])} {100 * pair['together']:.0f} %"
        for pair in judged["groups"]["weakest"][:WEAKEST]
    ]
    return [render(table), *([f"oftenest in one group: {', '.join(weak)}"] if weak else [])]

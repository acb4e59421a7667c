"""What a check-up has found: a table of ok, warning and problem for a screen, and a block to paste into a report."""

from __future__ import annotations

import getpass
import os
import platform
import re
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich.table import Table

from swav_cli.errors import counted
from swav_cli.printable import printable, printable_lines
from swav_cli.report.tables import render

State = Literal["ok", "warning", "problem"]
STATES: tuple[State, ...] = ("ok", "warning", "problem")  # from good to bad
LEAST_OF_A_NAME = 2  # letters; shorter ones would be taken out of words


class Check(NamedTuple):
    """One thing that was looked at.

    >>> Check("open files", "warning", "256 may be open at once", "ulimit -n 4096").state
    'warning'
    """

    name: str
    state: State
    found: str
    remedy: str = ""  # what to do about it
    values: Mapping[str, Any] | None = None  # the same as plain values, for programs


Checkup = Mapping[str, list[Check]]  # by what they are about


def worst(checkup: Checkup) -> State:
    """The worst state of all.

    >>> worst({"machine": [Check("memory", "ok", "8 GB free"), Check("disk", "warning", "2 GB free")]})
    'warning'
    """
    return max((check.state for check in _all(checkup)), key=STATES.index, default="ok")


def checkup_text(checkup: Checkup) -> str:
    """A table a group, as wide as the terminal, and how many of each state there are."""
    width = max((len(check.name) for check in _all(checkup)), default=0)
    parts = [f"{group}\n{_table(checks, width)}" for group, checks in checkup.items()]
    return printable_lines("\n".join([*parts, summary(checkup)]))


def _table(checks: Iterable[Check], width: int) -> str:
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False, pad_edge=False)
    table.add_column(width=2)
    table.add_column(width=max(map(len, STATES)), no_wrap=True)
    table.add_column(width=width, no_wrap=True)
    table.add_column()
    for check in checks:
        table.add_row("", check.state, check.name, printable(check.found))
        if check.remedy:
            table.add_row("", "", "", printable(f"-> {check.remedy}"))
    return render(table)


def summary(checkup: Checkup) -> str:
    """How many there are of each state.

    >>> summary({"machine": [Check("memory", "ok", "8 GB free"), Check("disk", "warning", "2 GB free")]})
    '1 ok, 1 warning, no problem'
    """
    states = [check.state for check in _all(checkup)]
    words = [f"{states.count('ok')} ok"]
    for state in ("warning", "problem"):
        count = states.count(state)
        words.append(counted(count, state) if count else f"no {state}")
    return ", ".join(words)


def checkup_json(checkup: Checkup) -> dict[str, Any]:
    """The same for programs: the worst state, and each check with its group."""
    checks = [
        {"group": group, **check._asdict(), "values": dict(check.values or {})}
        for group, found in checkup.items()
        for check in found
    ]
    return {"state": worst(checkup), "checks": checks}


def _all(checkup: Checkup) -> list[Check]:
    return [check for checks in checkup.values() for check in checks]


# --- a block for a bug report ----------------------------------------------------------------------------------------


def checkup_report(checkup: Checkup) -> str:
    """Markdown to paste into a report: without the home folder, the user's name and the machine's name."""
    words = private_words()
    lines = ["### swav doctor", "", summary(checkup), "", "| | what | found |", "| --- | --- | --- |"]
    for group, checks in checkup.items():
        lines.append(f"| | **{group}** | |")
        for check in checks:
            found = f"{check.found} -> {check.remedy}" if check.remedy else check.found
            lines.append("| " + " | ".join(_cell(text, words) for text in (check.state, check.name, found)) + " |")
    return "\n".join(lines)


def _cell(text: str, words: Mapping[str, str]) -> str:
    """Names of files may hold what ends a cell, opens a tag or calls a person by @name."""
    text = printable(anonymous(text, words))
    for letter in "\\|`*":
        text = text.replace(letter, f"\\{letter}")
    return text.replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")


def private_words() -> dict[str, str]:
    """What tells who and where somebody is, and what stands in its place: longer ones first."""
    found: dict[str, str] = {}
    for home in (os.path.expanduser("~"), os.environ.get("HOME", "")):
        if len(home) > 1:
            found |= {path: "~" for path in (home.rstrip("/"), os.path.realpath(home)) if len(path) > 1}
    names = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME")} | {
        Path(os.path.expanduser("~")).name
    }
    with suppress(Exception):  # a user that the system does not know
        names.add(getpass.getuser())
    hosts = {socket.gethostname(), platform.node(), os.environ.get("HOSTNAME", "")}
    hosts |= {host.partition(".")[0] for host in hosts}
    found |= {name: "USER" for name in names if len(name) >= LEAST_OF_A_NAME}
    found |= {host: "HOST" for host in hosts - {"localhost"} if len(host) >= LEAST_OF_A_NAME}
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


def anonymous(text: str, words: Mapping[str, str]) -> str:
    """The text without these words, in whatever case of letters they stand.

    >>> anonymous("/home/ann/photos on Deep-Thought, by ann", {"/home/ann": "~", "deep-thought": "HOST", "ann": "USER"})
    '~/photos on HOST, by USER'
    """
    for word, instead in words.items():
        text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", instead, text, flags=re.IGNORECASE)
    return text

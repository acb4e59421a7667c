"""Answers as a table, JSON, a JSON object a line, or CSV; each is written as it comes, in constant memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TextIO, get_args

from rich.table import Table

from swav_cli.errors import UserError
from swav_cli.evaluate.answer import Answer, Kind
from swav_cli.printable import printable
from swav_cli.report.tables import render

AnswerFormat = Literal["table", "json", "jsonl", "csv"]
ANSWER_FORMATS: tuple[AnswerFormat, ...] = get_args(AnswerFormat)
ANSWER_SUFFIXES: dict[str, AnswerFormat] = {".json": "json", ".jsonl": "jsonl", ".csv": "csv", ".txt": "table"}
BLOCK = 50  # pictures of a table that are laid out together


def pick_format(written: str | None, as_json: bool, out: Path | None) -> AnswerFormat:
    """The format that the options ask for; by the file's name where they don't.

    Raises:
        UserError: unknown, or two that differ.
    """
    if written is not None and written not in ANSWER_FORMATS:
        raise UserError(f"--format {written}: use {', '.join(ANSWER_FORMATS)}")
    if as_json and written not in (None, "json"):
        raise UserError(f"--json means --format json; leave out one of --json and --format {written}")
    if as_json or written:
        return next(each for each in ANSWER_FORMATS if each == ("json" if as_json else written))
    if out is None:
        return "table"
    if out.suffix.lower() not in ANSWER_SUFFIXES:
        raise UserError(
            f"--out {out}: name it {', '.join(ANSWER_SUFFIXES)}, or say --format {'|'.join(ANSWER_FORMATS)}"
        )
    return ANSWER_SUFFIXES[out.suffix.lower()]


def write_answers(
    stream: TextIO, answers: Iterable[Answer], written: AnswerFormat, kind: Kind, top_k: int, about: dict[str, Any]
) -> None:
    """Write all of them, and flush so that a reader that went away is noticed here.

    Args:
        about: what a JSON object says of the whole beside the answers; it may be filled while answers come.
    """
    if written == "table":
        _write_table(stream, answers, kind)
    elif written == "csv":
        _write_csv(stream, answers, kind, top_k)
    elif written == "jsonl":
        for answer in answers:
            stream.write(_json(as_plain(answer, kind)) + "\n")
            stream.flush()
    else:
        _write_json(stream, answers, kind, about)
    stream.flush()


def as_plain(answer: Answer, kind: Kind) -> dict[str, Any]:
    """The answer as plain values, with the same keys whether or not the picture could be read."""
    top: list[dict[str, Any]]
    if kind == "class":
        top = [{"class": guess.name, "index": guess.number, "probability": guess.probability} for guess in answer.top]
        return {"path": answer.path, "error": answer.error, "top": top}
    top = [{"cluster": guess.number, "probability": guess.probability} for guess in answer.top]
    return {"path": answer.path, "error": answer.error, "margin": answer.margin, "top": top}


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if len(text.splitlines()) > 1:  # a name with U+2028 or U+0085, at which some readers begin a new line
        return json.dumps(value)
    try:
        text.encode()
    except UnicodeEncodeError:  # a name that is not UTF-8
        return json.dumps(value)
    return text


def _write_json(stream: TextIO, answers: Iterable[Answer], kind: Kind, about: dict[str, Any]) -> None:
    """One object: answers first, for what else there is to say is known at their end."""
    stream.write('{\n"answers": [')
    between = "\n"
    for answer in answers:
        stream.write(f"{between}  {_json(as_plain(answer, kind))}")
        between = ",\n"
    stream.write("\n]")
    for key, value in about.items():
        stream.write(f",\n{_json(key)}: {_json(value)}")
    stream.write("\n}\n")


class UnixLines:
    """Rows that end in LF. Told of that ending alone, csv would leave a CR inside a name without quotes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, row: str) -> None:
        self._stream.write(row.removesuffix("\r\n") + "\n")


def _write_csv(stream: TextIO, answers: Iterable[Answer], kind: Kind, top_k: int) -> None:
    rows = csv.writer(UnixLines(stream))
    margin = ["margin"] if kind == "cluster" else []
    guesses = [f"{column}_{place}" for place in range(1, top_k + 1) for column in (kind, "probability")]
    rows.writerow(["path", "error", *margin, *guesses])
    for answer in answers:
        row: list[Any] = [answer.path, answer.error]
        if kind == "cluster":
            row.append(None if answer.margin is None else f"{answer.margin:.6f}")
        for guess in answer.top:
            row += [guess.number if guess.name is None else guess.name, f"{guess.probability:.6f}"]
        rows.writerow(row + [None] * (2 + len(margin) + len(guesses) - len(row)))
        stream.flush()


def _write_table(stream: TextIO, answers: Iterable[Answer], kind: Kind) -> None:
    rest = iter(answers)
    widest = [0, 0]  # columns of later blocks are no narrower than those before
    first = True
    for block in _blocks(rest):
        widest[0] = max(widest[0], *(len(printable(answer.path)) for answer in block))
        widest[1] = max(widest[1], *(len(_label(guess.number, guess.name)) for a in block for guess in a.top), 7)
        stream.write(("" if first else "\n") + render(_table(block, kind, widest, first)) + "\n")
        stream.flush()
        first = False


def _blocks(answers: Iterator[Answer]) -> Iterator[list[Answer]]:
    while block := list(islice(answers, BLOCK)):
        yield block


def _table(block: list[Answer], kind: Kind, widest: list[int], heading: bool) -> Table:
    table = Table(box=None, pad_edge=False, show_header=heading)
    table.add_column("picture", overflow="fold", min_width=min(widest[0], 36))
    numbers = kind == "cluster"
    table.add_column(kind, justify="right" if numbers else "left", min_width=min(widest[1], 20))
    table.add_column("probability", justify="right", no_wrap=True, min_width=11)
    if numbers:
        table.add_column("margin", justify="right", no_wrap=True, min_width=6)
    for position, answer in enumerate(block):
        if position and (len(answer.top) > 1 or len(block[position - 1].top) > 1):
            table.add_row()
        _add_answer(table, answer, numbers)
    return table


def _add_answer(table: Table, answer: Answer, numbers: bool) -> None:
    if answer.error is not None:
        table.add_row(f"{printable(answer.path)}\n  not read: {printable(answer.error)}")
    for place, guess in enumerate(answer.top):
        margin = f"{answer.margin:.3f}" if not place and answer.margin is not None else ""
        cells = [_label(guess.number, guess.name), f"{100 * guess.probability:.1f} %", *([margin] if numbers else [])]
        table.add_row("" if place else printable(answer.path), *cells)


def _label(number: int, name: str | None) -> str:
    return str(number) if name is None else printable(name)

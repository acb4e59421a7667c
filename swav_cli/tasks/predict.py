"""Answers for many pictures, written, drawn and sorted: what `swav predict` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from swav_cli.data.inputs import named, open_inputs, refuse_to_replace
from swav_cli.data.paths import expanded
from swav_cli.data.pictures import tell
from swav_cli.errors import Notice, Told, UserError, silent
from swav_cli.evaluate.answer import Answer, kind_of
from swav_cli.evaluate.inference import Inference
from swav_cli.evaluate.prediction import predict
from swav_cli.evaluate.sorting import Sorting
from swav_cli.evaluate.unread import FEW, unread_in_words
from swav_cli.files import write_as_text
from swav_cli.printable import stop_writing
from swav_cli.report.answers import AnswerFormat, pick_format, write_answers
from swav_cli.report.labelled_sheet import MOST, save_labelled
from swav_cli.writable import check_place, is_pipe_or_device
from swav_cli.zoo.load import load_model


def write_predictions(
    inputs: str | Path | Sequence[str | Path],
    model: str | Path | None = None,
    *,
    linear: str | Path | None = None,
    out: str | Path | None = None,
    stream: TextIO | None = None,
    written: AnswerFormat | None = None,
    top_k: int = 5,
    sort_into: str | Path | None = None,
    copy: bool = False,
    show: str | Path | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    notice: Notice = silent,
    progress: Told = silent,
    indexing: Told = silent,
) -> dict[str, Any]:
    """Say which class or cluster each picture shows, and put the answers where they are wanted, in constant memory.

    >>> found = write_predictions("photos/", "runs/quickstart", out="answers.csv", sort_into="sorted")
    >>> found["kind"], found["pictures"], found["unread"]
    ('cluster', 40, 0)

    Args:
        inputs: pictures, folders, patterns, list files, `shapes:COUNT`, or `-` for paths on standard input.
        model, linear: what `load_model` takes.
        out: a file for the answers, whole or not at all.
        stream: takes the answers as they come where no file does; a reader that leaves ends the list and not the rest.
        written: the format; by the name of `out` where nothing is said, else a table.
        top_k: guesses a picture; as many as there are where that is less.
        sort_into: a folder in which each class or cluster gets one with its pictures, as links, or with `copy` copies.
        show: a PNG file for the first `MOST` pictures with their answers.
        batch_size, workers: what suits the device where nothing is said; answers don't depend on them.
        notice, progress: told of what is worth knowing, and of pictures done and pictures in all.
        indexing: told of bytes done and bytes in all where shards are gone through for the first time.

    Returns:
        model, kind (class or cluster), pictures, unread (how many could not be read) and, where they were, `sorted`.

    Raises:
        UserError: a mistake that can be mended, and nothing was written; or, with all of it written, no picture could
            be read.
    """
    given = named(inputs)
    out, show, sort_into = (expanded(place) if place is not None else None for place in (out, show, sort_into))
    form = written or pick_format(None, False, out)
    _check_places(out, show, sort_into)
    how = Inference.wanted(device, precision, batch_size, workers)
    pictures = open_inputs(given, without=sort_into, progress=indexing)
    tell(pictures, notice)
    refuse_to_replace(given, pictures, [path for path in (out, show) if path is not None])
    found = load_model(model, linear=linear, notice=notice)
    about = found.about
    answers = predict(found, pictures, top_k, how)
    kind, count = kind_of(about.classes), len(about.classes) or about.prototypes
    facts: dict[str, Any] = {"model": found.name, "kind": kind}
    sorting = Sorting(sort_into, pictures, about.classes, count, copy=copy, notice=notice) if sort_into else None
    passing = _Passing(facts, len(pictures), sorting, show is not None, progress)
    heard = passing.listen(answers)

    def write(to: TextIO) -> None:
        write_answers(to, heard, form, kind, min(top_k, count), facts)

    if out is not None:
        write_as_text(out, write)
        notice(f"wrote {out}")
    elif stream is not None:
        _write_stream(stream, write, goes_on=sort_into is not None or show is not None)
    for _ in heard:  # what nobody has read
        pass
    if show is not None:
        save_labelled(show, pictures, passing.kept)
        first = f", with the first {MOST} of {len(pictures):,} pictures" if len(pictures) > MOST else ""
        notice(f"wrote {show}{first}")
    if sorting is not None:
        notice(sorting.in_words())
    passing.tell_unread(notice)
    return facts


class _Passing:
    """What is done with answers, and kept of them, as they pass by on their way to a screen or a file."""

    def __init__(
        self, facts: dict[str, Any], count: int, sorting: Sorting | None, keeps: bool,
        progress: Told,
    ) -> None:  # fmt: skip
        self.facts, self.count, self.sorting, self.keeps, self.progress = facts, count, sorting, keeps, progress
        self.kept: list[Answer] = []  # for a sheet
        self.pictures = self.unread = 0
        self.first_unread: list[tuple[str, str]] = []

    def listen(self, answers: Iterator[Answer]) -> Iterator[Answer]:
        for answer in answers:
            self.pictures += 1
            if answer.error is not None:
                self.unread += 1
                if len(self.first_unread) < FEW:
                    self.first_unread.append((answer.path, answer.error))
            if self.keeps and len(self.kept) < MOST:
                self.kept.append(answer)
            if self.sorting is not None:
                self.sorting.place(answer)
            yield answer
            self.progress(self.pictures, self.count)
        self.facts |= {"pictures": self.pictures, "unread": self.unread}
        if self.sorting is not None:
            self.facts["sorted"] = self.sorting.summary()

    def tell_unread(self, notice: Notice) -> None:
        """Raises UserError where nothing could be read."""
        if not self.first_unread:
            return
        told = unread_in_words(self.first_unread, self.unread, self.pictures)
        if self.unread == self.pictures:
            raise UserError(told)
        notice(told)


def _check_places(out: Path | None, show: Path | None, sort_into: Path | None) -> None:
    """Nothing is computed for a file that could not be written in the end."""
    if show is not None and show.suffix.lower() != ".png":
        raise UserError(f"--show {show}: the sheet is a PNG file; name it {show.with_suffix('.png')}")
    named = {"--out": out, "--show": show, "--sort-into": sort_into}
    places: dict[str, str] = {}
    for option, path in named.items():
        if path is None:
            continue
        check_place(path, option, is_folder=option == "--sort-into")
        other = places.setdefault(os.path.realpath(path), option)
        if other != option and not is_pipe_or_device(path):
            raise UserError(f"{option} {path}: is the place of {other} too; give each its own")


def _write_stream(stream: TextIO, write: Callable[[TextIO], None], goes_on: bool) -> None:
    try:
        write(stream)
    except BrokenPipeError:  # `| head` ends the list, and not the other work
        if not goes_on:
            raise
        stop_writing(stream)

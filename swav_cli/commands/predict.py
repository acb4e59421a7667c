"""`swav predict`."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swav_cli.errors import UserError

if TYPE_CHECKING:
    from swav_cli.core.answer import Answer, Kind
    from swav_cli.data.sources import Pictures
    from swav_cli.evaluate.sorting import Sorting
    from swav_cli.report.answers import Format

PLAIN_SECONDS = 15.0  # between lines where there is no terminal


def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Pictures, folders, patterns such as 'photos/*.jpg', list files, shapes:COUNT, or - for paths on "
            "standard input.",
            metavar="INPUT",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A run, a file of weights or a published model. Left out: the newest run, else the published "
            "ImageNet classifier.",
        ),
    ] = None,
    top_k: Annotated[int, typer.Option(help="Classes or clusters a picture.", min=1)] = 5,
    written: Annotated[
        str | None,
        typer.Option("--format", metavar="table|json|jsonl|csv", help="Left out: by the name of --out, else a table."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the answers there: .json, .jsonl, .csv or .txt.")
    ] = None,
    sort_into: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Put the pictures into a folder a class or cluster; nothing is replaced."),
    ] = None,
    copy: Annotated[bool, typer.Option("--copy/--link", help="For --sort-into: copies, or links where possible.")] = (
        False
    ),
    show: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Write the pictures with their answers, at most 64.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Pictures at a time. Left out: as suits the device.", min=1)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32 or bf16.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(help="Processes that read pictures. Left out: as many as help.", min=0)
    ] = None,
) -> None:
    """Say which class each picture shows, or which pictures belong together.

    swav predict demo/bird.JPEG
    swav predict photos/ --sort-into sorted/
    swav predict 'photos/*.jpg' --model runs/mine --out answers.csv
    find photos -name '*.png' | swav predict - --format jsonl

    A model with a classifier answers with its classes. Another answers with
    its clusters: the nearest prototypes, by cosine. That is an argmax for each
    picture by itself, and not equipartitioned: training shares pictures out
    evenly over the clusters, here some get many pictures and some get none.

    A picture that can't be read has its row, with the reason.
    """
    from swav_cli.core.answer import kind_of
    from swav_cli.core.distributed import pick_device
    from swav_cli.data.inputs import open_inputs, with_channels
    from swav_cli.evaluate import prediction
    from swav_cli.evaluate.sorting import Sorting
    from swav_cli.report.answers import pick_format
    from swav_cli.zoo.load import load_model

    form = pick_format(written, as_json, out)
    _check_places(out, show, sort_into)
    place = pick_device(device)
    prediction.check_precision(precision)
    pictures = open_inputs(inputs, without=sort_into)
    _refuse_to_replace(inputs, pictures, [path for path in (out, show) if path is not None])
    network, about = load_model(model, _say)
    about = replace(about, source=model or about.source)
    pictures = with_channels(pictures, about.channels)
    answers = prediction.predict(
        network, about, pictures, top_k, device=place, precision=precision, batch_size=batch_size, workers=workers
    )
    kind, count = kind_of(about.classes), len(about.classes) or about.prototypes
    facts = {"model": about.source, "kind": kind}
    sorting = Sorting(sort_into, pictures, about.classes, count, copy=copy, notice=_say) if sort_into else None
    told = Told(facts, sorting, keep=show is not None)
    _write(told, told.listen(_with_progress(answers, len(pictures), out)), form, kind, min(top_k, count), out)
    if show is not None:
        _write_sheet(show, pictures, told)
    if sorting is not None:
        _say(told.sorted_in_words())
    told.say_unread()


class Told:
    """What passed by while answers went to the screen or a file."""

    def __init__(self, facts: dict[str, Any], sorting: Sorting | None, keep: bool) -> None:
        self.facts, self.sorting, self.keep = facts, sorting, keep
        self.kept: list[Answer] = []  # for a sheet
        self.pictures = 0
        self.unread = 0
        self.first_unread: Answer | None = None

    def listen(self, answers: Iterator[Answer]) -> Iterator[Answer]:
        from swav_cli.report.labelled_sheet import MOST

        for answer in answers:
            self.pictures += 1
            if answer.error is not None:
                self.unread += 1
                self.first_unread = self.first_unread or answer
            if self.keep and len(self.kept) < MOST:
                self.kept.append(answer)
            if self.sorting is not None:
                self.sorting.place(answer)
            yield answer
        self.facts |= {"pictures": self.pictures, "unread": self.unread}
        if self.sorting is not None:
            self.facts["sorted"] = self.sorting.summary()

    def sorted_in_words(self) -> str:
        assert self.sorting is not None
        found = self.sorting.summary()
        folders, what = found["folders"], "clusters" if self.facts["kind"] == "cluster" else "classes"
        largest = ", ".join(f"{name} {count:,}" for name, count in list(folders.items())[:5])
        there = f" ({found['already_there']:,} were there already)" if found["already_there"] else ""
        return (
            f"{found['folder']}: {found['pictures']:,} pictures in {len(folders):,} of "
            f"{len(folders) + found['empty']:,} {what}{there}; {found['empty']:,} {what} stay empty\n"
            f"  largest: {largest or 'none'}"
        )

    def say_unread(self) -> None:
        """Raises UserError where nothing could be read."""
        if self.first_unread is None:
            return
        from swav_cli.report.answers import printable

        first = printable(f"{self.first_unread.path}: {self.first_unread.error}")
        if self.pictures == 1:
            raise UserError(first)
        if self.unread == self.pictures:
            raise UserError(f"none of {self.pictures:,} pictures could be read; first {first}")
        _say(f"{self.unread:,} of {self.pictures:,} pictures could not be read; first {first}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _check_places(out: Path | None, show: Path | None, sort_into: Path | None) -> None:
    """Nothing is computed for a file that could not be written in the end."""
    if show is not None and show.suffix.lower() != ".png":
        raise UserError(f"--show {show}: the sheet is a PNG file; name it {show.with_suffix('.png')}")
    for option, path in (("--out", out), ("--show", show), ("--sort-into", sort_into)):
        if path is None:
            continue
        if path.is_dir() and option != "--sort-into":
            raise UserError(f"{option} {path}: is a folder; name a file")
        above = next(
            parent for parent in [path, *path.absolute().parents] if parent.is_dir() or parent.parent == parent
        )
        blocking = next((parent for parent in path.absolute().parents if parent.is_file()), None)
        if blocking is not None or not os.access(above, os.W_OK):
            raise UserError(f"{option} {path}: can't be written below {blocking or above}; name another place")


def _refuse_to_replace(inputs: list[str], pictures: Pictures, results: list[Path]) -> None:
    """A result is never written over what is read."""
    targets = {os.path.abspath(path) for path in results if path.exists()}
    if not targets:
        return
    read = [*inputs, *(pictures.name(index) for index in range(len(pictures)))]
    hit = next((name for name in read if os.path.abspath(name) in targets), None)
    if hit is not None:
        raise UserError(f"{hit}: is an input, and would be replaced by the result; give another name")


def _write(told: Told, answers: Iterator[Answer], form: Format, kind: Kind, top_k: int, out: Path | None) -> None:
    from swav_cli.core.checkpoint import write_whole
    from swav_cli.report.answers import write_answers

    if out is not None:

        def write(beside: Path) -> None:
            try:
                with open(beside, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
                    write_answers(stream, answers, form, kind, top_k, told.facts)
            except BaseException:  # Ctrl-C too leaves nothing behind
                beside.unlink(missing_ok=True)
                raise

        write_whole(out, write)
        _say(f"wrote {out}")
        return
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need be no text in the terminal's encoding
        if form == "table":
            sys.stdout.reconfigure(errors="backslashreplace")
        else:
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        write_answers(sys.stdout, answers, form, kind, top_k, told.facts)
    except BrokenPipeError:
        if told.sorting is not None or told.keep:  # `| head` ends the list, and not the other work
            for _ in answers:
                pass
        else:
            raise


def _write_sheet(path: Path, pictures: Pictures, told: Told) -> None:
    from swav_cli.report.labelled_sheet import MOST, save_labelled

    save_labelled(path, pictures, told.kept)
    first = f", with the first {MOST} of {told.pictures:,} pictures" if told.pictures > MOST else ""
    _say(f"wrote {path}{first}")


def _with_progress(answers: Iterator[Answer], count: int, out: Path | None) -> Iterator[Answer]:
    """A bar where it does not disturb the answers on the same terminal; a plain line now and then in a log."""
    from tqdm import tqdm

    shared = out is None and sys.stdout.isatty()
    if sys.stderr.isatty():
        yield from tqdm(answers, total=count, unit=" pictures", leave=False, dynamic_ncols=True, disable=shared)
        return
    started = said = time.monotonic()
    for done, answer in enumerate(answers):
        yield answer
        if time.monotonic() - said > PLAIN_SECONDS:
            said = time.monotonic()
            _say(f"{done + 1:,} of {count:,} pictures, {(done + 1) / (said - started):,.0f} a second")

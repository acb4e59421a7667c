"""`swav predict`."""

from __future__ import annotations

import io
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, TextIO

import typer

from swav_cli.commands import options
from swav_cli.errors import silent


def predict(
    inputs: Annotated[list[str], options.inputs()],
    model: Annotated[str | None, options.model_option("the newest run, else the published ImageNet classifier")] = None,
    linear: options.Linear = None,
    top_k: Annotated[int, typer.Option(metavar="N", min=1, help="Classes or clusters a picture.")] = 5,
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
    batch_size: options.BatchSize = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    workers: options.Workers = None,
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
    from swav_cli.report.answers import pick_format
    from swav_cli.report.console import Screen
    from swav_cli.tasks.predict import write_predictions

    form = pick_format(written, as_json, out)
    screen = Screen(speaks=True)
    shared = out is None and sys.stdout.isatty() and sys.stderr.isatty()  # the answers are on the same terminal
    with nullcontext(silent) if shared else screen.counting("pictures") as progress:
        write_predictions(
            inputs, model, linear=linear, out=out, stream=_standard_output(form == "table"), written=form, top_k=top_k,
            sort_into=sort_into, copy=copy, show=show, batch_size=batch_size, device=device, precision=precision,
            workers=workers, notice=screen.notice, progress=progress, indexing=screen.indexing,
        )  # fmt: skip


def _standard_output(is_table: bool) -> TextIO:
    """Names of files need be no text in the terminal's encoding."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        if is_table:
            sys.stdout.reconfigure(errors="backslashreplace")
        else:
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    return sys.stdout

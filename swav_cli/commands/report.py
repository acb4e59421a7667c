"""`swav report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from swav_cli.commands import options
from swav_cli.commands.output import print_json, print_result, say
from swav_cli.completions import model_names


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN|MODEL",
            help="Folders of runs, side by side; or one model: a file of weights, a URL, a published one's name.",
            show_default="the run that changed last",
            autocompletion=model_names,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="The page's file.", show_default="report.html in the run's folder"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there and that swav has not made.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Make one page to look at and to show: an HTML file that opens offline.

    swav report
    swav report runs/quickstart runs/longer --out both.html
    swav report swav-800e

    Of a run it tells how it stands, in words; its curves, results with their
    protocols, crops as the network sees them, prototypes, recipe with what was
    derived and why, and where it ran. Of several what differs, curves over each
    other, and results in one table. The page asks nobody for anything, and where
    it lies is printed.
    """
    from swav_cli.report.words import size
    from swav_cli.tasks.report import write_report

    found = write_report(runs or [], out, overwrite=overwrite, notice=say)
    say(f"wrote {found.report}, {size(found.bytes)}" if found.bytes else f"wrote {found.report}")
    if as_json:
        print_json({"report": str(found.report), "bytes": found.bytes, "runs": found.runs})
    else:
        print_result(str(found.report))

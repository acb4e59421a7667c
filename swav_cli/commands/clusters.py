"""`swav clusters`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from swav_cli.commands import options
from swav_cli.commands.output import print_json, print_result
from swav_cli.errors import UserError


def clusters(
    inputs: Annotated[list[str] | None, options.inputs("the pictures of the model's own run")] = None,
    model: Annotated[str | None, options.model_option("the newest run")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The folder for what is found.",
            show_default="clusters in the run's folder for its own pictures, else here",
        ),
    ] = None,
    groups: Annotated[
        str, typer.Option(metavar="N|auto", help="Groups that clusters are merged into; auto: by silhouette, 2 to 30.")
    ] = "auto",
    method: Annotated[
        str, typer.Option(metavar="clusters|density", help="density: groups where pictures lie densely, by HDBSCAN.")
    ] = "clusters",
    smallest: Annotated[
        int | None,
        typer.Option(metavar="N", help="Pictures of the smallest group by density.", show_default="0.5 %, at least 5"),
    ] = None,
    near: Annotated[
        float,
        typer.Option(metavar="COSINE", help="From which on pictures that look alike are copies; 2: exact ones alone."),
    ] = 0.9,
    written: Annotated[str, typer.Option("--format", metavar="csv|parquet", help="Of the table.")] = "csv",
    listed: Annotated[
        str | None,
        typer.Option(
            "--print",
            metavar="LIST",
            help="Print paths on standard output: keep, delete, outliers, unread, against, group:N or cluster:N.",
        ),
    ] = None,
    null: Annotated[bool, typer.Option("--null", "-0", help="For --print: end paths with NUL, as xargs -0 reads.")] = (
        False
    ),
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Find which pictures belong together, which are copies, and which are odd.

    swav clusters
    swav clusters photos/ --groups 12 --out clusters/
    swav clusters photos/ --print delete -0 | xargs -0 ls -l
    swav clusters photos/ --model timm:resnet50.a1_in1k

    A row a picture in clusters.csv, all in numbers in results.json, and lists of
    what to keep and what others stand for: nothing is ever deleted.
    The same command again computes only pictures that are new.
    """
    from swav_cli.report.clusters_table import check_list
    from swav_cli.report.clusters_table import listed as paths_of
    from swav_cli.report.clusters_text import describe_clusters
    from swav_cli.report.console import Screen
    from swav_cli.tasks.clusters import find_clusters

    if null and listed is None:
        raise UserError("-0 is of --print; name what to print, such as --print delete")
    if listed is not None:
        check_list(listed)
        if as_json:
            raise UserError("--print and --json both write to standard output; leave one out")
    screen = Screen(speaks=True)
    with screen.counting("pictures") as progress:
        result = find_clusters(
            inputs or [], model, out, groups=groups, method=method, smallest=smallest, near=near, written=written,
            device=device, precision=precision, batch_size=batch_size, workers=workers, overwrite=overwrite,
            notice=screen.notice, progress=progress, indexing=screen.indexing,
        )  # fmt: skip
    if listed is not None:
        _print_paths(paths_of(result.found, listed), "\0" if null else "\n")
    elif as_json:
        print_json(result.results)
    else:
        print_result(describe_clusters(result.results))


def _print_paths(paths: list[str], end: str) -> None:
    """The very bytes of each name, whatever they are."""
    import os

    for path in paths:
        sys.stdout.buffer.write(os.fsencode(path + end))
    sys.stdout.buffer.flush()

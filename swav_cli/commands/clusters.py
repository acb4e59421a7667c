"""`swav clusters`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from swav_cli.commands import options
from swav_cli.commands.output import print_json, print_result
from swav_cli.errors import UserError


def clusters(
    inputs: Annotated[list[str] | None, options.inputs("the pictures of the model's own run")] = None,
    model: Annotated[str | None, options.model_option("the newest run that was pretrained")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The folder for what is found.",
            show_default="clusters in the run's folder for its own pictures, else here",
        ),
    ] = None,
    groups: Annotated[
        str, typer.Option(metavar="N|auto", help="Groups that clusters are merged into; auto: by silhouette, 5 to 30.")
    ] = "auto",
    method: Annotated[
        str, typer.Option(metavar="clusters|density", help="density: groups where pictures lie densely, by HDBSCAN.")
    ] = "clusters",
    smallest: Annotated[
        int | None,
        typer.Option(metavar="N", help="Pictures of the smallest group by density.", show_default="0.5 %, at least 5"),
    ] = None,
    near_cosine: Annotated[
        float,
        typer.Option(
            "--near",
            metavar="COSINE",
            help="From which on pictures that look alike are copies; 2: exact ones alone.",
        ),
    ] = 0.9,
    against: Annotated[
        str | None,
        typer.Option(metavar="INPUT", help="Other pictures: find which of these are among them, as of train in test."),
    ] = None,
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
    nearest: Annotated[
        str | None,
        typer.Option(metavar="PICTURE", help="Tell which pictures are most like this one, and nothing else."),
    ] = None,
    k: Annotated[int, typer.Option("-k", metavar="N", min=1, help="For --nearest: how many.")] = 20,
    show: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Write the most typical pictures, a line a group; or the nearest ones."),
    ] = None,
    page: Annotated[
        bool | None,
        typer.Option(
            "--page/--no-page",
            help="Write index.html: groups, copies, odd pictures and a map.",
            show_default="where swav-cli has its extra `report`",
        ),
    ] = None,
    atlas: Annotated[
        bool, typer.Option("--atlas", help="Write atlas.parquet too: a map with pictures for embedding-atlas.")
    ] = False,
    sort_into: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Put the pictures into a folder a group; nothing is replaced."),
    ] = None,
    copy: Annotated[bool, typer.Option("--copy/--link", help="For --sort-into: copies, or links where possible.")] = (
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
    swav clusters photos/ --groups 12 --show sheet.png
    swav clusters photos/ --print delete -0 | xargs -0 ls -l
    swav clusters train/ --against test/
    swav clusters photos/ --nearest demo/bird.JPEG -k 5
    swav clusters photos/ --model timm:resnet50.a1_in1k

    A row a picture in clusters.csv, all in numbers in results.json, a page to look
    at in index.html, and lists of what to keep and what others stand for: nothing
    is ever deleted.
    The same command again computes only pictures that are new.
    """
    _refuse_contradictions(listed, null, nearest, against, atlas or sort_into is not None, as_json)
    from swav_cli.evaluate.inference import Inference
    from swav_cli.report.console import Screen
    from swav_cli.tasks.clusters import find_clusters, nearest_pictures

    how = Inference.wanted(device, precision, batch_size, workers)
    screen = Screen(speaks=True)
    with (
        screen.counting("pictures") as progress,
        screen.counting("pictures compared") as comparing,
        screen.counting("pictures drawn") as drawing,
    ):
        if nearest is not None:
            near = nearest_pictures(
                nearest, inputs or [], model, out, k=k, show=show, how=how, overwrite=overwrite, notice=screen.notice,
                progress=progress, indexing=screen.indexing,
            )  # fmt: skip
            _print_nearest(near, as_json)
            return
        result = find_clusters(
            inputs or [], model, out, groups=groups, method=method, smallest=smallest, near=near_cosine,
            against=against or (), written=written, show=show, page=page, atlas=atlas, sort_into=sort_into, copy=copy,
            how=how, overwrite=overwrite, notice=screen.notice, progress=progress, comparing=comparing,
            drawing=drawing, indexing=screen.indexing,
        )  # fmt: skip
    if listed is not None:
        from swav_cli.report.clusters_table import listed as paths_of

        _print_paths(paths_of(result.found, listed), null)
    elif as_json:
        print_json(result.results)
    else:
        from swav_cli.report.clusters_text import describe_clusters

        print_result(describe_clusters(result.results))


def _refuse_contradictions(
    listed: str | None, null: bool, nearest: str | None, against: str | None, writes: bool, as_json: bool
) -> None:
    """
    Raises:
        UserError: two options that don't go together, or a list that there is none of.
    """
    if null and listed is None:
        raise UserError("-0 is of --print; name what to print, such as --print delete")
    if nearest is not None and (listed is not None or against is not None or writes):
        raise UserError("--nearest tells of one picture alone; leave out --print, --against, --atlas and --sort-into")
    if listed is None:
        return
    from swav_cli.report.clusters_table import check_list

    check_list(listed)
    if as_json:
        raise UserError("--print and --json both write to standard output; leave one out")
    if listed == "against" and against is None:
        raise UserError("--print against: name the pictures to compare with, as --against test/")


def _print_nearest(near: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json({"nearest": near})
        return
    from swav_cli.printable import printable

    print_result("\n".join(f"{each['similarity']:.4f}  {printable(each['path'])}" for each in near))


def _print_paths(paths: list[str], null: bool) -> None:
    """The very bytes of each name, whatever they are."""
    end = b"\0" if null else b"\n"
    for path in paths:
        sys.stdout.buffer.write(os.fsencode(path) + end)
    sys.stdout.buffer.flush()

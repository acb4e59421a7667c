"""`swav index`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from swav_cli.commands import options
from swav_cli.commands.output import print_json, print_result
from swav_cli.errors import counted
from swav_cli.parallel.place import is_first
from swav_cli.report.words import size


def index(
    shards: Annotated[
        list[str],
        typer.Argument(help="Tar files, or patterns: 'shards/*.tar' or 'train-{000..146}.tar'.", metavar="SHARDS"),
    ],
    force: Annotated[bool, typer.Option("--force", help="Make indexes anew that are there already.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Note where in tar files each picture lies, so that training starts at once.

    swav index shards/train.tar
    swav index 'shards/train-{000..146}.tar'
    swav pretrain in1k-200e --data 'shards/train-{000..146}.tar'

    The index of x.tar is x.tar.index.npz beside it, or lies in the user's cache
    folder where nothing can be written there. Without this command the first
    one that reads the shards makes it. A tar that has changed gets a new one.

    A sample's picture is the member with a picture's ending, its class is in
    NAME.cls, or in NAME.json as "label" or "class". Without any of these the
    first folders are the classes.
    """
    from swav_cli.report.console import Screen
    from swav_cli.tasks.index import index as note

    found = note(shards, force, Screen(speaks=is_first()).indexing)
    if as_json:
        print_json(found)
    else:
        print_result("\n".join(_lines(found)))


def _lines(found: dict[str, Any]) -> list[str]:
    """A line a shard, then all of them together."""
    told = [
        f"{row['shard']}: {counted(row['pictures'], 'picture')}; index {row['index'] or 'could not be kept'}"
        f"{'' if row['new'] else ' (was there)'}"
        for row in found["shards"]
    ]
    classes = "without labels" if found["classes"] is None else f"of {counted(found['classes'], 'class', 'classes')}"
    beside = f"; {found['passed_over']:,} more lie beside them in samples" if found["passed_over"] else ""
    told += found["remarks"]
    if found["unlabelled"]:
        told.append(f"labels don't count: {found['unlabelled']}")
    told.append(
        f"{counted(found['pictures'], 'picture')} {classes} in {counted(len(found['shards']), 'shard')} of "
        f"{size(found['bytes'])}{beside}"
    )
    return told

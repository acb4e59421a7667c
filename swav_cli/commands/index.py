"""`swav index`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swav_cli.errors import UserError, counted

if TYPE_CHECKING:
    from swav_cli.data.shards.index import ShardIndex


def index(
    shards: Annotated[
        list[str],
        typer.Argument(help="Tar files, or patterns: 'shards/*.tar' or 'train-{000..146}.tar'.", metavar="SHARDS"),
    ],
    force: Annotated[bool, typer.Option("--force", help="Make indexes anew that are there already.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")] = False,
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
    from swav_cli.data.shards.pictures import index_shards

    found = facts(index_shards(shards, force))
    if not found["pictures"]:
        raise UserError(f"{' '.join(shards)}: no pictures in {counted(len(found['shards']), 'shard')}")
    print(json.dumps(found) if as_json else "\n".join(lines(found)), flush=True)


def facts(indexes: Sequence[ShardIndex]) -> dict[str, Any]:
    """What is in the shards, and where their indexes lie."""
    from swav_cli.data.shards.pictures import classes_of, remarks_on, unlabelled_in

    named = classes_of(indexes)
    rows = [
        {
            "shard": each.shard.path, "pictures": len(each), "bytes": each.shard.size, "passed_over": each.passed_over,
            "index": str(each.kept) if each.kept else None, "new": each.is_new,
        }
        for each in indexes
    ]  # fmt: skip
    return {
        "pictures": sum(map(len, indexes)),
        "classes": None if named is None else len(named[1]),
        "unlabelled": unlabelled_in(indexes),
        "remarks": remarks_on(indexes),
        "bytes": sum(each.shard.size for each in indexes),
        "passed_over": sum(each.passed_over for each in indexes),
        "shards": rows,
    }


def lines(found: dict[str, Any]) -> list[str]:
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
        f"{found['bytes'] / 1e9:.3g} GB"
        f"{beside}"
    )
    return told

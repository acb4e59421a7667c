"""Where in tar files each picture lies, noted beside them: what `swav index` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swav_cli.data.shards.pictures import classes_of, index_shards, remarks_on, unlabelled_in
from swav_cli.errors import Told, UserError, counted, silent


def index(shards: Sequence[str], force: bool = False, progress: Told = silent) -> dict[str, Any]:
    """Index tar files, and tell what is in them and where their indexes lie; what `swav index --json` prints.

    >>> index(["shards/train-{000..001}.tar"])["pictures"]
    16

    Args:
        shards: files, or patterns of them.
        force: make indexes anew that are there already.
        progress: told of bytes done and bytes in all.

    Raises:
        UserError: no such shards, shards that can't be read, or no pictures in any.
    """
    indexes = index_shards(shards, force, progress)
    named = classes_of(indexes)
    found: dict[str, Any] = {
        "pictures": sum(map(len, indexes)),
        "classes": None if named is None else len(named[1]),
        "unlabelled": unlabelled_in(indexes),
        "remarks": remarks_on(indexes),
        "bytes": sum(each.shard.size for each in indexes),
        "passed_over": sum(each.passed_over for each in indexes),
        "shards": [
            {
                "shard": each.shard.path, "pictures": len(each), "bytes": each.shard.size,
                "passed_over": each.passed_over, "index": str(each.kept) if each.kept else None, "new": each.is_new,
            }
            for each in indexes
        ],
    }  # fmt: skip
    if not found["pictures"]:
        raise UserError(f"{' '.join(shards)}: no pictures in {counted(len(indexes), 'shard')}")
    return found

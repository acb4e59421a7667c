"""Listings of large folders, kept from one start to the next.

They lie in the user's cache folder and not in a run's: every command that opens the folder then starts at once, a
second run and an evaluation as well as a resumed run, and nothing is written beside pictures, which may be read-only.

A kept listing counts folder by folder, while the folder's own times and number stay what they were; those that have
changed are read again. What can't be read or written is passed over, since all of it can be made again.

The file: a line with the length and checksum of what follows, a description in JSON, and at the next multiple of 64
bytes two arrays, the ends (int64) and the bytes of all names, which processes of one machine map and so share.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swav_cli.data.folders.listing import Folder, Listing, read_listing
from swav_cli.data.folders.path_table import PathTable
from swav_cli.data.paths import keeping_nothing, kept_at
from swav_cli.files import replacing

KEPT_FROM = 10_000  # pictures; fewer are listed as quickly as a file is read
MAGIC = "swav listing 2"
# A file that another machine replaces is gone under whoever has mapped it: read those whole.
REMOTE = ("nfs", "cifs", "smb", "fuse", "lustre", "gpfs", "beegfs", "ceph", "afs", "9p", "glusterfs", "virtiofs")


def list_folder(root: Path, suffixes: frozenset[str]) -> Listing:
    """All pictures below a folder; see `read_listing`. A large folder is read again only where it has changed.

    Raises:
        OSError: a folder that can't be read.
    """
    systems = file_systems()
    # Object stores and the like, shown as folders by a program, often have one date for all of them.
    silent = frozenset(device for device, kind in systems.items() if kind.startswith(("fuse", "9p")))
    kept = _place(root, suffixes)
    before = load_listing(kept, systems) if kept else None
    listing = read_listing(root, suffixes, before, silent)
    is_kept = kept is not None and len(listing.paths) >= KEPT_FROM and not keeping_nothing.active
    if kept and is_kept and (before is None or _differ(listing, before)):
        with contextlib.suppress(OSError):  # no room, or no right to write there
            save_listing(kept, listing)
    return listing


def _place(root: Path, suffixes: frozenset[str]) -> Path | None:
    named = "\n".join([os.path.abspath(root), *sorted(suffixes)])
    return kept_at("listings", f"{hashlib.sha256(os.fsencode(named)).hexdigest()[:32]}.listing")


def _differ(listing: Listing, before: Listing) -> bool:
    """Not where the same is found again in folders that are never trusted."""
    if listing is before:
        return False
    return _describe(listing) != _describe(before) or listing.paths.digest() != before.paths.digest()


def file_systems(table: str = "/proc/self/mountinfo") -> dict[int, str]:
    """The kind of file system on each device, such as ext4 or nfs4; empty where the system does not tell."""
    kinds: dict[int, str] = {}
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(table).read_text(encoding="utf-8", errors="replace").splitlines():
            major, minor = line.split()[2].split(":")
            kinds[os.makedev(int(major), int(minor))] = line.partition(" - ")[2].split()[0]
    return kinds


# --- the file -----------------------------------------------------------------------------------------------------


def save_listing(path: Path, listing: Listing) -> None:
    """Written beside its name and moved there: another process finds the former one or this one.

    Raises:
        OSError: it can't be written.
    """
    block, ends = listing.paths.arrays()
    described = json.dumps({**_describe(listing), "bytes": len(block), "digest": listing.paths.digest()}).encode()
    head = f"{MAGIC} {len(described)} {hashlib.sha256(described).hexdigest()}\n".encode() + described
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, flush=False) as part, open(part, "wb") as file:
        file.write(head + b"\0" * (-len(head) % 64))
        file.write(np.ascontiguousarray(ends).data)
        file.write(np.ascontiguousarray(block).data)


def _describe(listing: Listing) -> dict[str, Any]:
    folders = [[each.prefix, each.stamp, each.folders, each.links, each.passed, each.own] for each in listing.folders]
    return {"names": len(listing.paths), "folders": folders, "runs": listing.runs}


def load_listing(path: Path, systems: dict[int, str]) -> Listing | None:
    """A kept listing, checked whole; None where there is none or it is damaged."""
    try:
        with open(path, "rb") as file:
            magic, length, checksum = file.readline(200).decode().rsplit(" ", 2)
            described = file.read(int(length))
            start = file.tell() + -file.tell() % 64
            remote = systems.get(os.fstat(file.fileno()).st_dev, "").startswith(REMOTE)
        if magic != MAGIC or hashlib.sha256(described).hexdigest() != checksum.strip():
            return None
        content = json.loads(described)
        table = _table(path, start, content["names"], content["bytes"], remote)
        if table.digest() != content["digest"]:
            return None
        return _listing(content, table)
    except (OSError, ValueError, KeyError, TypeError, MemoryError):
        return None


def _table(path: Path, start: int, names: int, length: int, remote: bool) -> PathTable:
    after = start + 8 * (names + 1)
    whole: NDArray[np.uint8]
    whole = np.fromfile(path, dtype=np.uint8) if remote else np.memmap(path, dtype=np.uint8, mode="r")
    whole = np.asarray(whole)
    if len(whole) != after + length:
        raise ValueError("not as long as it says")
    return PathTable.from_arrays(whole[after:], whole[start:after].view(np.int64))


def _listing(content: dict[str, Any], table: PathTable) -> Listing:
    runs = [(int(number), int(start), int(stop)) for number, start, stop in content["runs"]]
    parts: list[list[PathTable]] = [[] for _ in content["folders"]]
    for number, start, stop in runs:
        parts[number].append(table.part(start, stop))
    folders = [
        Folder(
            prefix,
            tuple(stamp) if stamp else None,
            below,
            links,
            PathTable.joined(names),
            tuple((kind, count) for kind, count in passed),
            tuple(own),
        )
        for (prefix, stamp, below, links, passed, own), names in zip(content["folders"], parts, strict=True)
    ]
    return Listing(table, folders, runs)

"""The pictures below a folder, of which there may be ten million: read a folder at a time, and kept in flat arrays."""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swav_cli.data.folders.own_results import Looking, features_among, holds_results, is_made_whole, is_of_trackers
from swav_cli.data.folders.path_table import PathTable

# File systems note times in steps, of two seconds at most (FAT), and a change within the same step can't be seen.
SETTLED = 2_000_000_000  # nanoseconds

TOLD = 5  # kinds of files, and names
# Kinds that lie beside pictures and are not looked for among them.
NO_PICTURES = frozenset({
    ".txt", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".md", ".rst", ".html", ".htm", ".ini", ".cfg",
    ".toml", ".db", ".log", ".cls", ".pt", ".pth", ".safetensors", ".parquet", ".arrow", ".npz", ".onnx", ".pt2",
    ".py", ".ipynb", ".sh", ".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".tar", "README", "LICENSE",
})  # fmt: skip

Stamp = tuple[int, int, int]  # modified, changed, number: what a folder has of its own and any change in it changes


class Folder(NamedTuple):
    """What one folder holds, without what lies in the folders within it."""

    prefix: str  # its path below the root, "" or "a/b/"
    stamp: Stamp | None  # when this was so; None where a change might not show in it
    folders: list[str]  # prefixes of those within it, in order
    links: list[str]  # the same of links to folders
    names: PathTable  # pictures, with the prefix, in order
    passed: tuple[tuple[str, int], ...] = ()  # suffixes of other files, and how many there are
    own: tuple[str, ...] = ()  # what swav itself has written, with the prefix


class Listing(NamedTuple):
    """All pictures below a root in order, and which of them lie in which folder."""

    paths: PathTable
    folders: list[Folder]  # in the order in which they were entered
    runs: list[tuple[int, int, int]]  # (i, start, stop): names from start to stop lie in folder i

    def tops(self) -> tuple[list[str], NDArray[np.int64]]:
        """The root's own subfolders by pictures ("" for those in the root itself), and how many follow each other."""
        groups = groupby(self.runs, lambda run: self.folders[run[0]].prefix.partition("/")[0])
        counted = [(top, sum(stop - start for _, start, stop in runs)) for top, runs in groups]
        return [top for top, _ in counted], np.array([count for _, count in counted], dtype=np.int64)

    def remarks(self) -> list[str]:
        """What was passed over that somebody may miss: kinds of files that are not read, and what swav has written."""
        kinds: Counter[str] = Counter()
        for folder in self.folders:
            kinds.update(dict(folder.passed))
        own = sorted(name for folder in self.folders for name in folder.own)
        told = [f"{count:,} {'file' if count == 1 else 'files'} {kind}" for kind, count in kinds.most_common(TOLD)]
        rest = sum(kinds.values()) - sum(count for _, count in kinds.most_common(TOLD))
        others = [f"{rest:,} others"] if rest else []
        return [
            *([f"passed over, since they are not read: {', '.join([*told, *others])}"] if kinds else []),
            *([f"passed over, since swav has written it: {_some(own)}"] if own else []),
        ]


def read_listing(
    root: Path, suffixes: frozenset[str], before: Listing | None = None, silent: frozenset[int] = frozenset()
) -> Listing:
    """Names below `root` (with `/`, sorted) that end in one of the suffixes, in any case.

    Links are followed, each folder is entered once, and hidden files and folders are passed over.

    Args:
        before: an earlier listing; folders that have not changed since are not read again. If none has, it comes back.
        silent: devices whose folders don't tell when they have changed.

    Raises:
        OSError: a folder that can't be read.
    """
    known = {folder.prefix: folder for folder in before.folders} if before else {}
    try:
        found = _walk(root, suffixes, known, silent)
    except OSError:
        if not known:
            raise
        found = _walk(root, suffixes, {}, silent)  # a link's folder may be gone, which the link's own does not tell
    if before and len(found) == len(before.folders) and all(a is b for a, b in zip(found, before.folders, strict=True)):
        return before
    return arrange(found)


def _walk(root: Path, suffixes: frozenset[str], known: Mapping[str, Folder], silent: frozenset[int]) -> list[Folder]:
    found: list[Folder] = []
    looking = Looking()
    seen: set[tuple[int, int]] = set()
    folders = [""]
    links: list[str] = []  # left for last: a folder goes by its own name rather than by that of a link to it
    while folders or links:
        prefix = folders.pop() if folders else links.pop(0)
        now, status = time.time_ns(), os.stat(root / prefix)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        folder = known.get(prefix)
        if folder is None or folder.stamp != stamp:
            settled = 0 < max(stamp[:2]) < now - SETTLED and status.st_dev not in silent
            folder = _read_folder(root, prefix, suffixes, stamp if settled else None, looking)
        found.append(folder)
        folders += folder.folders
        links += folder.links
    return found


def _read_folder(root: Path, prefix: str, suffixes: frozenset[str], stamp: Stamp | None, looking: Looking) -> Folder:
    names: list[str] = []
    folders: list[str] = []
    links: list[str] = []
    others: set[str] = set()
    with os.scandir(root / prefix) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                others.add(name)
            elif _is_folder(entry):
                (links if entry.is_symlink() else folders).append(name)
            elif os.path.splitext(name)[1].lower() in suffixes:
                if _can_be_read(entry):
                    names.append(name)
            else:
                others.add(name)
                if entry.is_symlink() and not os.path.exists(entry.path):
                    stamp = None  # it may lead to a folder some day, of a disk that is not there now
    here, all_names = str(root / prefix), {*others, *folders, *links}
    own: list[str] = []
    if prefix and is_of_trackers(prefix.rstrip("/"), all_names):  # of a run, which is told of itself
        names, folders, links, others = [], [], [], set()
    elif prefix and is_made_whole(prefix.rstrip("/"), {*all_names, *names}):
        own, names, folders, links, others = [""], [], [], [], set()
    elif prefix and holds_results(here, {*all_names, *names}):
        own, names, others = [""] if names else [], [], set()
    else:
        ours = looking.sheets(here, names)
        ours |= features_among(here, [name for name in names if name.lower().endswith(".npy")], others)
        own, names = sorted(ours), [name for name in names if name not in ours]
    names.sort()
    return Folder(
        prefix, stamp, _below(prefix, folders), _below(prefix, links), PathTable.of_folder(prefix, names),
        _kinds(others), tuple(prefix + name for name in own),
    )  # fmt: skip


def _kinds(names: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """How many files of each kind are passed over, but for those that nobody takes for pictures."""
    seen = (name for name in names if not name.startswith(".") and name.upper() not in NO_PICTURES)
    kinds = Counter(os.path.splitext(name)[1].lower() or "without a suffix" for name in seen)
    return tuple(sorted((kind, count) for kind, count in kinds.items() if kind not in NO_PICTURES))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - TOLD:,} more" if len(names) > TOLD else ""
    return ", ".join(names[:TOLD]) + more


def _below(prefix: str, folders: list[str]) -> list[str]:
    return [f"{prefix}{name}/" for name in sorted(folders)]


def arrange(folders: list[Folder]) -> Listing:
    """All names in order.

    Names that begin alike stand together in it. So each folder's own names stay together but where those of a folder
    within it come between, and such runs of names come in the order of their first ones.
    """
    runs: list[tuple[str, int, int, int]] = []
    for number, folder in enumerate(folders):
        cuts = sorted(bisect_left(folder.names, prefix) for prefix in (*folder.folders, *folder.links))
        edges = [0, *cuts, len(folder.names)]
        runs += [(folder.names[a], number, a, b) for a, b in pairwise(edges) if a < b]
    runs.sort()
    paths = PathTable.joined([folders[number].names.part(a, b) for _, number, a, b in runs])
    ends = np.cumsum([0, *(b - a for _, _, a, b in runs)]).tolist()
    placed = [(run[1], ends[i], ends[i + 1]) for i, run in enumerate(runs)]
    return Listing(paths, folders, placed)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _can_be_read(entry: os.DirEntry[str]) -> bool:
    """A file, or a link that leads nowhere, which is for the reader to report; but no pipe, which would never end."""
    try:
        return entry.is_file() or not os.path.exists(entry.path)
    except OSError:
        return True

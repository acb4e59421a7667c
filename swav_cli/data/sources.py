"""Where pictures come from: a folder, a list of files, shards, a torchvision data set, or `shapes`.

All are `Pictures`: a length, a way to read one as uint8, a name for each, and labels where the source has them.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from swav_cli.data.formats import SUFFIXES
from swav_cli.data.images import read_picture
from swav_cli.data.kept_listing import list_folder
from swav_cli.data.path_table import PathTable
from swav_cli.data.pictures import Limited, Pictures, Split, digest
from swav_cli.data.shapes import KINDS, shape_picture
from swav_cli.data.shard_names import hint_at_shards, is_stream, names_shards, refuse_stream
from swav_cli.data.torchvision_pictures import open_torchvision, spelt_otherwise
from swav_cli.errors import UserError, nearest

LISTS = (".txt", ".csv", ".tsv")  # suffixes of files that list pictures


class FilePictures(Pictures):
    """Files below a root. Classes are those given, else the root's own subfolders, where every file lies in one.

    Args:
        counts: how many files in a row each of the given classes has; one where nothing is said.
    """

    def __init__(
        self, root: Path, names: Sequence[str], channels: int, source: str, classes: list[str] | None = None,
        counts: NDArray[np.int64] | None = None,
    ) -> None:  # fmt: skip
        self.root, self.channels, self.source = root, channels, source
        self.paths = names if isinstance(names, PathTable) else PathTable(names)
        tops = classes or [name.split("/", 1)[0] if "/" in name else "" for name in names]
        known = sorted(set(tops))
        if not {"", ".."} & set(known):
            number = {top: position for position, top in enumerate(known)}
            self.classes = known
            labels = np.fromiter((number[top] for top in tops), dtype=np.int64, count=len(tops))
            self.labels = labels if counts is None else np.repeat(labels, counts)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Tensor:
        return read_picture(self.root / self.paths[index], self.channels)

    def name(self, index: int) -> str:
        return str(self.root / self.paths[index])

    def fingerprint(self) -> str:
        """Of the names below the root: the same where the folder has been moved."""
        return digest([self.paths.digest()])


class ShapePictures(Pictures):
    """The pictures that draw themselves; see `shapes.py`."""

    kinds = tuple(KINDS)

    def __init__(self, count: int, seed: int, split: Split) -> None:
        self.count, self.seed, self.split, self.channels = count, seed, split, 3
        self.source = f"shapes:{count}:{seed}"
        self.classes = list(self.kinds)
        self.labels = np.arange(count, dtype=np.int64) % len(self.kinds)

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Tensor:
        return shape_picture(self.seed, self.split, index)

    def name(self, index: int) -> str:
        return f"shapes/{self.split}/{self.kinds[index % len(self.kinds)]}/{index:06d}"

    def fingerprint(self) -> str:
        return digest([f"{self.source}:{self.split}"])


def open_pictures(
    source: str, split: Split = "train", *, channels: int = 3, limit: int | None = None, seed: int = 0
) -> Pictures:
    """The pictures of a source: a folder, a list of files (.txt, .csv), shards (.tar), torchvision:NAME, shapes:COUNT.

    Raises:
        UserError: nothing there, with what to do.
    """
    kind, _, rest = source.partition(":")
    pictures: Pictures
    if is_stream(source):
        raise refuse_stream(source)
    if kind == "shapes":
        pictures = _open_shapes(source, rest, split, channels)
    elif kind == "torchvision":
        pictures = open_torchvision(source, rest, split, channels)
    elif names_shards(source):
        from swav_cli.data.shards import open_shards

        pictures = open_shards([source], channels)
    elif source.strip():
        pictures = _open_files(Path(source).expanduser(), channels)
    else:
        raise UserError("the source of pictures is empty; give a folder with --data PATH")
    if not len(pictures):
        raise UserError(f"{source}: holds no pictures ({', '.join(sorted(SUFFIXES))}){hint_at_shards(source)}")
    return Limited(pictures, limit, seed) if limit and limit < len(pictures) else pictures


def _open_shapes(source: str, rest: str, split: Split, channels: int) -> Pictures:
    parts = rest.split(":") if rest else ["5000"]
    if channels != 3:
        raise UserError(f"{source}: drawn pictures have 3 channels, not data.channels ({channels})")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts) or int(parts[0]) == 0:
        raise UserError(f"{source}: write it as shapes:COUNT or shapes:COUNT:SEED, for example shapes:5000")
    return ShapePictures(int(parts[0]), int(parts[1]) if len(parts) == 2 else 0, split)


def _open_files(path: Path, channels: int) -> Pictures:
    try:
        if path.is_dir():
            listing = list_folder(path, SUFFIXES)
            return FilePictures(path, listing.paths, channels, str(path), *listing.tops())
        if path.suffix.lower() in LISTS and path.is_file():
            return _open_list(path, channels)
        if path.exists():
            raise UserError(f"{path}: neither a folder nor a list of files ({', '.join(LISTS)})")
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError as error:
        raise UserError(f"{error.filename or path}: can't be read ({error.strerror})") from None
    hint = nearest(path.name, beside) or _nearest_source(str(path))
    raise UserError(f"{path}: no such folder or list of pictures.{hint} Give one with --data PATH")


def _nearest_source(written: str) -> str:
    """The nearest source that is no path, where something like `CIFAR10` or `torchvison:CIFAR10` is written."""
    kind, colon, rest = written.partition(":")
    if colon:
        return nearest(written, [f"{known}:{rest}" for known in ("shapes", "torchvision") if nearest(kind, [known])])
    dataset = spelt_otherwise(written)
    return f" Did you mean 'torchvision:{dataset}'?" if dataset else nearest(written, ["shapes"])


def _open_list(path: Path, channels: int) -> Pictures:
    """A file with a path a line, or a table with a column of paths; relative ones start at the list's own folder."""
    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    classes: list[str] | None = None
    if path.suffix.lower() == ".txt":
        names = [line.strip() for line in text.splitlines()]
        names = [PurePath(name).as_posix() for name in names if name and not name.startswith("#")]
    else:
        names, classes = _columns(path, text)
    if names and not any((path.parent / name).exists() for name in names):
        raise UserError(
            f"{path}: none of its {len(names):,} files is there, first {names[0]}; they start at {path.parent}"
        )
    return FilePictures(path.parent, names, channels, str(path), classes)


def _columns(path: Path, text: str) -> tuple[list[str], list[str] | None]:
    """The first column of a table that holds names of pictures, below its heading if it has one.

    A heading `label` or `class` names a column of classes, which counts where no cell of it is empty.
    """
    rows = list(csv.reader(text.splitlines(), delimiter="\t" if path.suffix.lower() == ".tsv" else ","))
    rows = [[cell.strip() for cell in row] for row in rows]
    first = next((row for row in rows if _pictures_in(row)), None)
    if first is None:
        raise UserError(f"{path}: no column of it holds names of pictures ({', '.join(sorted(SUFFIXES))})")
    column, start = _pictures_in(first)[0], rows.index(first)
    kept = [row for row in rows[start:] if len(row) > column and row[column] and not row[column].startswith("#")]
    names = [PurePath(row[column]).as_posix() for row in kept]
    heading = [cell.lower() for cell in rows[0]] if start else []
    labelled = next((heading.index(word) for word in ("label", "class") if word in heading), None)
    if labelled is None or any(len(row) <= labelled or not row[labelled] for row in kept):
        return names, None
    return names, [row[labelled] for row in kept]


def _pictures_in(row: Sequence[str]) -> list[int]:
    return [column for column, cell in enumerate(row) if os.path.splitext(cell)[1].lower() in SUFFIXES]

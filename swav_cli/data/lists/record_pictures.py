"""Pictures in Parquet and Arrow files: a row each, as Hugging Face's `datasets` keeps and publishes them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from swav_cli.data.decoding.formats import SUFFIXES as PICTURES
from swav_cli.data.decoding.formats import BadPicture, Reduce
from swav_cli.data.decoding.images import decode_picture, read_picture
from swav_cli.data.folders.file_pictures import digest_of_file
from swav_cli.data.folders.own_results import is_sheet
from swav_cli.data.lists.record_files import ARROW, KEPT, PARQUET, RECORD_SUFFIXES, Looked, look_into, value_at
from swav_cli.data.lists.tables import cell_of
from swav_cli.data.paths import expanded, names_beside
from swav_cli.data.pictures import PART_NAMES, SPLIT_NAMES, Pictures, Split, class_order, digest, evenly_spread, lacks
from swav_cli.data.shards.names import expand_braces
from swav_cli.errors import UserError, nearest

DEPTH = 2  # folders below the one that is named, in which files are looked for


class RecordPictures(Pictures):
    """The pictures of files in their order, and of their rows.

    A row's picture is its bytes, else the file that its path names, from the folder of the Parquet file on.
    """

    def __init__(self, found: Sequence[Looked], channels: int, source: str) -> None:
        self.channels, self.source = channels, source
        self.files = [each.file for each in found]
        self._starts = np.cumsum([0, *(file.rows for file in self.files)], dtype=np.int64)  # (S + 1,)
        self._set_labels(found)
        largest = max((each.largest for each in found), default=0)
        if largest > KEPT:
            self.remarks = [
                f"row groups of up to {largest / 1e6:,.0f} MB, each of which is read whole for one of its pictures: "
                "training is quicker from a folder or from shards"
            ]

    def _set_labels(self, found: Sequence[Looked]) -> None:
        words = [word for each in found for word in _words(each)]
        lacking = [row for row, word in enumerate(words) if not word]
        if not words or len(lacking) == len(words):
            return
        if lacking:
            self.unlabelled = lacks(self.name(lacking[0]), "has no label", len(lacking), len(words))
            return
        told = list(dict.fromkeys(name for each in found for name in each.names or []))
        self.classes = told if set(words) <= set(told) else class_order(words)
        number = {name: position for position, name in enumerate(self.classes)}
        self.labels: NDArray[np.int64] | None = np.array([number[word] for word in words], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, index: int) -> Tensor:
        index, number = self._located(index)
        file = self.files[number]
        return _decoded(value_at(file, index), Path(file.path).parent, self.channels, self.reduce)

    def name(self, index: int) -> str:
        """`data/train-00000-of-00001.parquet/000017`"""
        row, number = self._located(index)
        return f"{self.files[number].path}/{row:06d}"

    def below(self, index: int) -> str:
        row, number = self._located(index)
        return f"{os.path.basename(self.files[number].path)}/{row:06d}"

    def fingerprint(self) -> str:
        """Of the files' sizes and rows: the same wherever they lie, and whatever they are called."""
        return digest(f"{file.size}\n{file.rows}\n" for file in self.files)

    def former_fingerprints(self) -> set[str]:
        return {digest(f"{os.path.basename(file.path)}\n{file.size}\n{file.rows}\n" for file in self.files)}

    def contents(self) -> list[str]:
        return [digest_of_file(Path(self.files[number].path)) for number in evenly_spread(len(self.files))]

    def _located(self, index: int) -> tuple[int, int]:
        """A picture's row in its file, and the file's number."""
        index = range(len(self))[index]
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return index - int(self._starts[number]), number


def _words(found: Looked) -> list[str]:
    """The class of each row; "" where it has none. Numbers below 0 mark what has no label, where they number names."""
    if found.labels is None:
        return [""] * found.file.rows
    if found.names is None:
        return [cell_of(value) for value in found.labels]
    count = len(found.names)
    return [found.names[value] if isinstance(value, int) and 0 <= value < count else "" for value in found.labels]


def _decoded(value: Any, folder: Path, channels: int, reduce: Reduce | None) -> Tensor:
    """
    Raises:
        BadPicture: it can't be read, or there is nothing.
    """
    path = value.get("path") if isinstance(value, dict) else value
    content = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(content, bytes):
        return decode_picture(content, channels, reduce)
    if isinstance(path, str) and path:
        return read_picture(folder / path, channels, reduce)
    raise BadPicture("the row holds no picture")


# --- which files --------------------------------------------------------------------------------------------------


def names_records(source: str) -> bool:
    """Whether a source is of Parquet or Arrow files, by its ending."""
    return source.lower().endswith(RECORD_SUFFIXES) and not os.path.isdir(os.path.expanduser(source))


def open_records(sources: Sequence[str], channels: int = 3, source: str | None = None) -> RecordPictures:
    """The pictures of files: paths, or patterns such as 'data/train-*.parquet'.

    Args:
        source: what they are called together.

    Raises:
        UserError: one is not there or can't be read, or holds no pictures.
    """
    places: dict[str, str] = {}
    for path in (path for each in sources for path in find_records(each)):
        places.setdefault(os.path.abspath(path), path)
    found = [look_into(path) for path in sorted(places.values())]
    pictures = [each for each in found if not each.is_features] or found  # features beside the pictures are none
    return RecordPictures(pictures, channels, source or " ".join(sources))


def find_records(source: str) -> list[str]:
    """The files that a path or a pattern names.

    Raises:
        UserError: one is not there.
    """
    path = str(expanded(source))
    if os.path.exists(path):
        return [path]
    names = [name for each in expand_braces(path) for name in (glob.glob(each) if glob.has_magic(each) else [each])]
    missing = next((name for name in names if not os.path.isfile(name)), None)
    if missing is not None or not names:
        hint = nearest(os.path.basename(path), names_beside(Path(path)))
        raise UserError(f"{missing or source}: no such file.{hint}")
    return names


def records_in(folder: Path, split: Split | None) -> list[str]:
    """The files of a data set in a folder without pictures, of one part of it where its files tell parts apart.

    As `datasets` saves (`dataset_info.json`, `data-00000-of-00001.arrow`) or publishes them
    (`data/train-00000-of-00001.parquet`, `default/train/0000.parquet`).
    """
    found = sorted(str(path) for suffix in RECORD_SUFFIXES for path in _below(folder, suffix))
    arrows = [path for path in found if path.endswith(ARROW) and not os.path.basename(path).startswith("cache-")]
    found = arrows or [path for path in found if path.endswith(PARQUET)]
    if split is None:
        return found
    parts = [_part_of(Path(path).relative_to(folder)) for path in found]
    own = next((part for part in SPLIT_NAMES[split] if part in parts), None)
    if own is None:
        return [] if split == "val" and any(parts) else found
    return [path for path, part in zip(found, parts, strict=True) if part == own]


def parts_of_records(folder: Path) -> tuple[str, str] | None:
    """Two sources, where a folder without pictures holds files of a part to train on and of one to judge by."""
    if _has_pictures(folder):
        return None
    parts = [records_in(folder, split) for split in ("train", "val")]
    if not all(parts) or parts[0] == parts[1] or any(set(",{}") & set(path) for part in parts for path in part):
        return None
    sources = [_as_pattern(part) for part in parts]
    return sources[0], sources[1]


def _as_pattern(paths: Sequence[str]) -> str:
    stems, suffixes = zip(*map(os.path.splitext, paths), strict=True)
    return paths[0] if len(paths) == 1 else f"{{{','.join(stems)}}}{suffixes[0]}"


def _has_pictures(folder: Path) -> bool:
    """Within the folders in which files are looked for; of a million pictures the first one tells."""
    for here, folders, names in os.walk(folder, followlinks=True):
        if len(Path(here).relative_to(folder).parts) == DEPTH:
            folders.clear()
        drawn = (name for name in names if os.path.splitext(name)[1].lower() in PICTURES - {".npy"})
        if any(not is_sheet(os.path.join(here, name)) for name in drawn):
            return True
    return False


def _below(folder: Path, suffix: str) -> Iterator[Path]:
    for depth in range(DEPTH + 1):
        yield from folder.glob("/".join(["*"] * depth + [f"*{suffix}"]))


def _part_of(path: Path) -> str | None:
    """What the file's name begins with, else the folder that it lies in, where that is a part."""
    begins = re.match(r"[a-z]+", path.name.lower())
    words = [begins[0] if begins else "", *(part.lower() for part in reversed(path.parts[:-1]))]
    return next((word for word in words if word in PART_NAMES), None)

"""Where pictures come from: a folder, a list of files, shards, a torchvision data set, or `shapes`.

All are `Pictures`: a length, a way to read one as uint8, a name for each, and labels where the source has them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from torch import Tensor

from swav_cli.data.decoding.formats import SUFFIXES
from swav_cli.data.folders.file_pictures import FilePictures
from swav_cli.data.folders.kept_listing import list_folder
from swav_cli.data.lists.image_folder import Described
from swav_cli.data.lists.lists import open_list
from swav_cli.data.lists.record_pictures import names_records, open_records, records_in
from swav_cli.data.lists.tables import LISTS
from swav_cli.data.paths import expanded, names_beside
from swav_cli.data.pictures import Limited, Pictures, Split, digest, lacks
from swav_cli.data.shapes import KINDS, shape_picture
from swav_cli.data.shards.names import hint_at_shards, is_stream, names_shards, refuse_stream
from swav_cli.data.torchvision_pictures import open_torchvision, spelt_otherwise
from swav_cli.errors import Told, UserError, nearest, silent

PART_OF_IMG2DATASET = re.compile("[0-9]{5,}")


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

    def identity(self, index: int) -> str:
        return f"shapes:{self.seed}:{self.split}/{index}"

    def fingerprint(self) -> str:
        return digest([f"{self.source}:{self.split}"])


def open_pictures(
    source: str,
    split: Split = "train",
    *,
    channels: int = 3,
    limit: int | None = None,
    seed: int = 0,
    whole: bool = False,
    progress: Told = silent,
) -> Pictures:
    """The pictures of a source: a folder, a list of files (.txt, .csv, .jsonl), shards (.tar), Parquet or Arrow files,
    torchvision:NAME, shapes:COUNT.

    >>> pictures = open_pictures("shapes:100")
    >>> len(pictures), pictures.name(1), tuple(pictures.read(1).shape)
    (100, 'shapes/train/cross/000001', (3, 32, 32))

    Args:
        split: which part, of a source that has several; drawn pictures of one split are in no other.
        channels: of each picture that is read: 1 gray, 3 colour, others for stacks.
        limit: no more than so many, the first of a shuffle that `seed` fixes; None: all.
        progress: told of bytes done and bytes in all where shards are gone through for the first time.
        whole: of a folder with a data set in Parquet or Arrow files all parts, and not those of the split alone.

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
        from swav_cli.data.shards.pictures import open_shards

        pictures = open_shards([source], channels, progress)
    elif names_records(source):
        pictures = open_records([source], channels)
    elif source.strip():
        pictures = _open_files(expanded(source), channels, None if whole else split)
    else:
        raise UserError("the source of pictures is empty; give a folder with --data PATH")
    if not len(pictures):
        why = "".join(f"; {remark}" for remark in pictures.remarks)
        raise UserError(f"{source}: holds no pictures ({', '.join(sorted(SUFFIXES))}){hint_at_shards(source)}{why}")
    return Limited(pictures, limit, seed) if limit and limit < len(pictures) else pictures


def _open_shapes(source: str, rest: str, split: Split, channels: int) -> Pictures:
    parts = rest.split(":") if rest else ["5000"]
    if channels != 3:
        raise UserError(f"{source}: drawn pictures have 3 channels, not data.channels ({channels})")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts) or int(parts[0]) == 0:
        raise UserError(f"{source}: write it as shapes:COUNT or shapes:COUNT:SEED, for example shapes:5000")
    return ShapePictures(int(parts[0]), int(parts[1]) if len(parts) == 2 else 0, split)


def _open_files(path: Path, channels: int, split: Split | None) -> Pictures:
    try:
        if os.path.isdir(path):
            pictures = _open_folder(path, channels)
            records = [] if len(pictures) else records_in(path, split)
            return open_records(records, channels, str(path)) if records else pictures
    except OSError as error:
        raise UserError(f"{error.filename or path}: can't be read ({error.strerror})") from None
    if path.suffix.lower() in LISTS and os.path.isfile(path):
        return open_list(path, channels)
    if os.path.exists(path):
        raise UserError(f"{path}: neither a folder nor a list of files ({', '.join(LISTS)})")
    hint = nearest(path.name, names_beside(path)) or _nearest_source(str(path))
    raise UserError(f"{path}: no such folder or list of pictures.{hint} Give one with --data PATH")


def _open_folder(path: Path, channels: int) -> FilePictures:
    """
    Raises:
        OSError: a folder that can't be read.
    """
    listing = list_folder(path, SUFFIXES)
    tops, counts = listing.tops()
    if tops and all(map(PART_OF_IMG2DATASET.fullmatch, tops)) and os.path.isfile(path / f"{tops[0]}_stats.json"):
        pictures = FilePictures(path, listing.paths, channels, str(path), [""] * len(tops), counts)
        pictures.unlabelled = (
            f"its folders, such as {tops[0]}, are parts that img2dataset has made and no classes (labels of its .json "
            "files are read from shards: --output_format webdataset)"
        )
        pictures.remarks = listing.remarks()
        return pictures
    described = Described(path, tops)
    names = list(listing.paths) if described.tables else []
    labels, missing, tables = described.labels(names), described.missing(names), ", ".join(described.tables)
    if not any(labels):
        pictures = FilePictures(path, listing.paths, channels, str(path), tops, counts)
        strange = [f"{tables}: passed over, since it names none of the pictures"] if tables else []
        pictures.remarks = [*listing.remarks(), *described.remarks, *strange]
        return pictures
    pictures = FilePictures(path, listing.paths, channels, str(path), labels)
    lacking = [name for name, label in zip(names, labels, strict=True) if not label]
    if lacking:
        pictures.unlabelled = lacks(lacking[0], f"has no label in {tables}", len(lacking), len(names))
    gone = [f"{tables}: {len(missing):,} of its pictures are not there, first {missing[0]}"] if missing else []
    pictures.remarks = [*listing.remarks(), *described.remarks, *gone]
    return pictures


def _nearest_source(written: str) -> str:
    """The nearest source that is no path, where something like `CIFAR10` or `torchvison:CIFAR10` is written."""
    kind, colon, rest = written.partition(":")
    if colon:
        return nearest(written, [f"{known}:{rest}" for known in ("shapes", "torchvision") if nearest(kind, [known])])
    dataset = spelt_otherwise(written)
    return f" Did you mean 'torchvision:{dataset}'?" if dataset else nearest(written, ["shapes"])

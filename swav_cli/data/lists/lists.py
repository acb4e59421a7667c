"""Pictures that a file lists: a name a line, or a table with a column of names and perhaps one of classes."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

from swav_cli.data.folders.file_pictures import FilePictures
from swav_cli.data.lists.tables import Listed, beside, read_listed
from swav_cli.data.pictures import lacks
from swav_cli.errors import UserError, counted


def open_list(path: Path, channels: int) -> FilePictures:
    """The pictures of a list (.txt), table (.csv, .tsv) or records (.jsonl); relative names start at its own folder.

    Raises:
        UserError: it can't be read, a row of it names nothing, or no file that it names is there.
    """
    return listed_pictures(path, read_listed(path, beside(path)), channels)


def listed_pictures(path: Path, listed: Listed, channels: int) -> FilePictures:
    """
    Raises:
        UserError: no file that is listed is there.
    """
    names = [PurePath(name).as_posix() for name in listed.names]
    if names and not any(os.path.exists(path.parent / name) for name in names):
        raise UserError(
            f"{path}: none of {counted(len(names), 'file')} is there, first {names[0]}; they start at {path.parent}"
        )
    pictures = FilePictures(path.parent, names, channels, str(path), listed.labels)
    lacking = [row for row, label in enumerate(listed.labels or []) if not label]
    if lacking:
        row = lacking[0]
        what = f"(line {listed.lines[row]:,}) has no label"
        pictures.unlabelled = lacks(names[row], what, len(lacking), len(names))
    return pictures

"""Pictures that a user names one by one: files, folders, patterns, lists, or paths on standard input."""

from __future__ import annotations

import glob
import sys
from collections.abc import Sequence
from pathlib import Path

from swav_cli.data.sources import FilePictures, Pictures, open_pictures
from swav_cli.errors import UserError, nearest

LISTS = (".txt", ".csv", ".tsv")


def open_inputs(inputs: Sequence[str], channels: int = 3) -> Pictures:
    """The pictures of all inputs: a picture, a folder, a pattern such as 'a/*.jpg', a list file, `-` for paths on
    standard input, or a source such as shapes:100. Files come in sorted order, each once, and under the name they were
    given by.

    Raises:
        UserError: an input that is not there, or nothing found.
    """
    if len(inputs) == 1 and not _is_file_like(inputs[0]):
        return open_pictures(inputs[0], "val", channels=channels)
    names: list[str] = []
    for given in inputs:
        names += _names_of(given, channels)
    if not names:
        raise UserError(f"{' '.join(inputs)}: no pictures there")
    return FilePictures(Path(), sorted(set(names)), channels, " ".join(inputs))


def _is_file_like(given: str) -> bool:
    """A picture, a pattern or standard input, and not a source by itself."""
    if given == "-" or glob.has_magic(given):
        return True
    return Path(given).is_file() and Path(given).suffix.lower() not in LISTS


def _names_of(given: str, channels: int) -> list[str]:
    if given == "-":
        return [line for line in sys.stdin.read().splitlines() if line.strip()]
    path = Path(given)
    if path.is_dir() or path.suffix.lower() in LISTS:
        pictures = open_pictures(given, "val", channels=channels)
        return [pictures.name(index) for index in range(len(pictures))]
    if path.exists():
        return [given]
    found = glob.glob(given, recursive=True)
    if found:
        return [name for name in found if Path(name).is_file()]
    beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    raise UserError(f"{given}: no such picture or folder.{nearest(path.name, beside)}")

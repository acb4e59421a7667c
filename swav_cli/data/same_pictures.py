"""Which pictures of one source are among those of another, under whatever names and through whatever links."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from swav_cli.data.pictures import Pictures

NOWHERE = -1


def places_among(pictures: Pictures, others: Pictures) -> NDArray[np.int64]:  # (M,)
    """The number that each picture has among the others; -1 where it is none of them.

    Each folder is looked at once and no file by itself, so that a million pictures on a shared disk take seconds.
    """
    places = np.full(len(pictures), NOWHERE, dtype=np.int64)
    own = list(_true_places(pictures))
    folders = {folder for folder, _ in own}
    at = {place: number for number, place in enumerate(_true_places(others)) if place[0] in folders}
    if at:
        places[:] = [at.get(place, NOWHERE) for place in own]
    return places


def _true_places(pictures: Pictures) -> Iterator[tuple[str, str]]:
    """Folder and name in `os.path.realpath` of each, which is asked for folders and for links alone."""
    folders: dict[str, tuple[str, frozenset[str]]] = {}
    for index in range(len(pictures)):
        folder, slash, name = pictures.identity(index).rpartition("/")
        folder = folder or slash  # of a file in the root of the system
        if folder not in folders:
            folders[folder] = os.path.realpath(folder), _links_in(folder)
        true_folder, links = folders[folder]
        yield os.path.split(os.path.realpath(os.path.join(true_folder, name))) if name in links else (true_folder, name)


def _links_in(folder: str) -> frozenset[str]:
    try:
        with os.scandir(folder or ".") as entries:
            return frozenset(entry.name for entry in entries if entry.is_symlink())
    except OSError:  # inside a tar, or in no folder at all
        return frozenset()

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
    folders = {os.path.dirname(path) for path in _true_paths(pictures)}
    at = {path: number for number, path in enumerate(_true_paths(others)) if os.path.dirname(path) in folders}
    if at:
        places[:] = [at.get(path, NOWHERE) for path in _true_paths(pictures)]
    return places


def _true_paths(pictures: Pictures) -> Iterator[str]:
    """`os.path.realpath` of each, asked for folders and for links alone."""
    folders: dict[str, tuple[str, frozenset[str]]] = {}
    for index in range(len(pictures)):
        folder, name = os.path.split(pictures.identity(index))
        if folder not in folders:
            folders[folder] = os.path.realpath(folder), _links_in(folder)
        true_folder, links = folders[folder]
        path = os.path.join(true_folder, name)
        yield os.path.realpath(path) if name in links else path


def _links_in(folder: str) -> frozenset[str]:
    try:
        with os.scandir(folder or ".") as entries:
            return frozenset(entry.name for entry in entries if entry.is_symlink())
    except OSError:  # inside a tar, or in no folder at all
        return frozenset()

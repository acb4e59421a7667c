"""Pictures looked at one by one, as many as there is time for: which can be read, their sizes, which are alike."""

from __future__ import annotations

import hashlib
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from swav_cli.data.decoding.formats import BadPicture, format_of
from swav_cli.data.folders.file_pictures import FilePictures
from swav_cli.data.pictures import Chosen, Pictures
from swav_cli.data.reading.limits import own_processors
from swav_cli.errors import Told, silent
from swav_cli.planning.derive import PixelSums, thinned

AT_ONCE = 16  # pictures that a thread is given before the clock is looked at
HEAD = 64  # bytes of a file that tell its format


class One(NamedTuple):
    """A picture that was read."""

    number: int  # among the pictures
    height: int
    width: int
    digest: bytes  # of its pixels
    is_gray: bool  # all channels alike
    kind: str  # of a file: format and mode, such as "JPEG RGB"; else ""


@dataclass(frozen=True)
class Look:
    """What a look at pictures has found."""

    total: int  # that there are
    seen: list[One]
    bad: dict[int, str]  # those that can't be read, with the reason
    seconds: float
    threads: int
    sums: PixelSums | None  # of all that were read
    sizes: NDArray[np.int64] = field(init=False)  # (N, 2): height and width

    def __post_init__(self) -> None:
        sizes = np.array([(one.height, one.width) for one in self.seen], dtype=np.int64).reshape(-1, 2)
        object.__setattr__(self, "sizes", sizes)

    @property
    def count(self) -> int:
        return len(self.seen) + len(self.bad)

    @property
    def is_whole(self) -> bool:
        return self.count == self.total

    @property
    def copies(self) -> list[list[int]]:
        """Pictures of the same pixels, those of a group in order; the largest groups first."""
        groups: dict[tuple[int, int, bytes], list[int]] = defaultdict(list)
        for one in self.seen:
            groups[one.height, one.width, one.digest].append(one.number)
        return sorted((sorted(group) for group in groups.values() if len(group) > 1), key=lambda g: (-len(g), g))

    @property
    def kinds(self) -> Counter[str]:
        return Counter(one.kind for one in self.seen if one.kind)

    @property
    def gray(self) -> float:
        """Share of gray ones."""
        return sum(one.is_gray for one in self.seen) / max(1, len(self.seen))

    def statistics(self) -> tuple[list[float], list[float]] | None:
        """Mean and deviation of each channel; None where none could be read."""
        return self.sums.statistics() if self.sums is not None else None


def look_at(pictures: Pictures, seconds: float, most: int | None = None, progress: Told = silent) -> Look:
    """All of them, or as many as there is time for, drawn without favour and always the same.

    >>> from swav_cli import open_pictures
    >>> found = look_at(open_pictures("shapes:40"), seconds=60)
    >>> found.is_whole, found.sizes[0].tolist(), found.bad
    (True, [32, 32], {})

    Args:
        seconds: after which no more are begun.
        most: no more than so many; None: all.
        progress: told how many are done, of how many.
    """
    wanted = min(len(pictures), most or len(pictures))
    threads = max(1, own_processors())
    began, seen, bad, sums = time.monotonic(), list[One](), dict[int, str](), None
    # Readers switch warnings off and on for a moment, which threads that do so at once could leave switched off.
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        for part in _parts(_drawn(len(pictures), wanted), AT_ONCE * threads):
            for index, found in zip(part, pool.map(lambda each: _look(pictures, each), part), strict=True):
                if isinstance(found, str):
                    bad[index] = found
                    continue
                one, own = found
                seen.append(one)
                sums = own if sums is None else sums.joined(own)
            progress(len(seen) + len(bad), wanted)
            if time.monotonic() - began > seconds:
                break
    return Look(len(pictures), seen, dict(sorted(bad.items())), time.monotonic() - began, threads, sums)


def _drawn(count: int, wanted: int) -> NDArray[np.int64]:
    if wanted == count:
        return np.random.Generator(np.random.Philox(key=count)).permutation(count)
    return np.random.Generator(np.random.Philox(key=count)).choice(count, wanted, replace=False)


def _parts(order: NDArray[np.int64], size: int) -> Iterator[list[int]]:
    for start in range(0, len(order), size):
        yield order[start : start + size].tolist()


def _look(pictures: Pictures, index: int) -> tuple[One, PixelSums] | str:
    """What a picture is like and sums of its pixels, or why it can't be read."""
    try:
        picture = pictures.read(index)
    except BadPicture as error:
        return str(error)
    channels, height, width = picture.shape
    pixels = picture.permute(1, 2, 0).contiguous().numpy()  # as they lie in memory already
    digest = hashlib.blake2b(pixels.data, digest_size=16).digest()
    few = thinned(picture)
    is_gray = channels == 1 or bool((few[1:] == few[:1]).all())
    kind = sys.intern(_kind(pictures, index))  # of which there are few, among perhaps millions of pictures
    return One(index, height, width, digest, is_gray, kind), PixelSums.of(picture)


def _kind(pictures: Pictures, index: int) -> str:
    """Format and mode of a file, from its head; empty where the picture is none."""
    while isinstance(pictures, Chosen):
        index = int(pictures.chosen[index])
        pictures = pictures.pictures
    if not isinstance(pictures, FilePictures):
        return ""
    path = Path(pictures.name(index))
    try:
        with open(path, "rb") as file:
            kind = format_of(file.read(HEAD))
        if kind is None:
            return path.suffix.lstrip(".").lower()
        with Image.open(path, formats=[kind]) as picture:
            return f"{kind} {picture.mode}"
    except Exception:  # Pillow's readers raise whatever a file leads them to; ours may read it all the same
        return path.suffix.lstrip(".").lower()

"""Small data sets decoded once and kept in memory, so that no epoch but the first pays for decoding."""

from __future__ import annotations

import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.limits import local_processes, own_processors
from swav_cli.errors import UserError

SHARE_OF_MEMORY = 0.25  # of what is free; `auto` keeps no more
SAMPLE = 32  # pictures decoded to estimate the size of all
UNKNOWN_MEMORY = 4e9  # bytes, where the system does not tell


Cache = bool | Literal["auto", "device"]  # on the device too: what is kept there is read into memory first


class CachedPictures(Pictures):
    """Decoded pictures in one flat block, which processes share; a bad one keeps its reason."""

    def __init__(self, pictures: Pictures, threads: int) -> None:
        self.source, self.channels = pictures.source, pictures.channels
        self.labels, self.classes = pictures.labels, pictures.classes
        self.unlabelled, self.drawn_by, self.remarks = pictures.unlabelled, pictures.drawn_by, pictures.remarks
        self._pictures = pictures
        self._bad: dict[int, str] = {}
        # Readers switch warnings off and on for a moment, which threads that do so at once could leave switched off.
        with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
            decoded = list(pool.map(self._decode, range(len(pictures))))
        self.shapes = np.array([picture.shape[1:] for picture in decoded], dtype=np.int32)
        self.ends = np.cumsum([0, *(picture.numel() for picture in decoded)], dtype=np.int64)
        self.block = torch.cat([picture.permute(1, 2, 0).reshape(-1) for picture in decoded])

    def _decode(self, index: int) -> Tensor:
        try:
            return self._pictures.read(index)
        except BadPicture as error:
            self._bad[index] = str(error)
            return torch.empty(self.channels, 0, 0, dtype=torch.uint8)

    def __len__(self) -> int:
        return len(self.shapes)

    def read(self, index: int) -> Tensor:
        if index in self._bad:
            raise BadPicture(self._bad[index])
        height, width = (int(side) for side in self.shapes[index])
        pixels = self.block[self.ends[index] : self.ends[index + 1]]
        return pixels.view(height, width, self.channels).permute(2, 0, 1)

    def name(self, index: int) -> str:
        return self._pictures.name(index)

    def below(self, index: int) -> str:
        return self._pictures.below(index)

    def identity(self, index: int) -> str:
        return self._pictures.identity(index)

    def fingerprint(self) -> str:
        return self._pictures.fingerprint()

    def former_fingerprints(self) -> set[str]:
        return self._pictures.former_fingerprints()

    def contents(self) -> list[str]:
        return self._pictures.contents()


def cached(pictures: Pictures, wanted: Cache) -> Pictures:
    """The pictures, in memory where that is wanted; with `auto` where they fit into a quarter of what is free.

    Each of several processes on a machine keeps all of them, and has its part of the processors to decode them.

    Raises:
        UserError: wanted, but more than the memory holds.
    """
    if wanted is False:
        return pictures
    processes = local_processes()
    needed, free = processes * bytes_needed(pictures), free_memory()
    if wanted in (True, "device") and needed > free:
        raise UserError(
            f"{pictures.source}: its {len(pictures):,} pictures take about {needed / 1e9:.1f} GB of memory"
            + (f" in {processes} processes" if processes > 1 else "")
            + f", of which {free / 1e9:.1f} GB are free; set data.cache to auto or false"
        )
    return CachedPictures(pictures, max(1, own_processors())) if _are_kept(wanted, needed, free) else pictures


def is_kept(pictures: Pictures, wanted: Cache) -> bool:
    """Whether `cached` would keep them, by a look at a few."""
    return wanted is not False and _are_kept(wanted, local_processes() * bytes_needed(pictures), free_memory())


def _are_kept(wanted: Cache, needed: float, free: float) -> bool:
    """Whether pictures that take so many bytes are kept in memory, of which so many are free."""
    return wanted in (True, "device") or (wanted == "auto" and needed < SHARE_OF_MEMORY * free)


def bytes_needed(pictures: Pictures) -> float:
    """Estimated from a few pictures; unreadable ones count for nothing."""
    sizes = []
    for index in np.linspace(0, len(pictures) - 1, min(SAMPLE, len(pictures)), dtype=int):
        try:
            sizes.append(pictures.read(int(index)).numel())
        except BadPicture:
            sizes.append(0)
    return float(np.mean(sizes)) * len(pictures)


def free_memory() -> float:
    """Bytes of memory that can be had, as far as the system tells; within a container, of the container's share."""
    return max(0.0, min(_of_system(Path("/proc/meminfo")), _of_container(Path("/sys/fs/cgroup"))))


def _of_system(meminfo: Path) -> float:
    try:
        # Not what is free: Linux fills that with files that it gives up when asked.
        fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
        return 1024 * float(fields["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError):
        return UNKNOWN_MEMORY


def _of_container(group: Path) -> float:
    for folder, most, used, files in (
        (group, "memory.max", "memory.current", "inactive_file"),
        (group / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            fields = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            return float((folder / most).read_text()) - float((folder / used).read_text()) + float(fields[files])
        except (OSError, ValueError, KeyError):  # no such group, or "max"
            continue
    return math.inf

"""Small data sets decoded once and kept in memory, so that no epoch but the first pays for decoding."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from swav_cli.data.images import BadPicture
from swav_cli.data.sources import Pictures

SHARE_OF_MEMORY = 0.25  # of what is free; `auto` keeps no more
SAMPLE = 32  # pictures decoded to estimate the size of all


class CachedPictures(Pictures):
    """Decoded pictures in one flat block, which processes share; a bad one keeps its reason."""

    def __init__(self, pictures: Pictures, threads: int) -> None:
        self.source, self.channels = pictures.source, pictures.channels
        self.labels, self.classes = pictures.labels, pictures.classes
        self._pictures = pictures
        self._bad: dict[int, str] = {}
        with ThreadPoolExecutor(threads) as pool:
            decoded = list(pool.map(self._decode, range(len(pictures))))
        self._shapes = np.array([picture.shape[1:] for picture in decoded], dtype=np.int32)
        self._ends = np.cumsum([0, *(picture.numel() for picture in decoded)], dtype=np.int64)
        self._block = torch.cat([picture.permute(1, 2, 0).reshape(-1) for picture in decoded])

    def _decode(self, index: int) -> Tensor:
        try:
            return self._pictures.read(index)
        except BadPicture as error:
            self._bad[index] = str(error)
            return torch.empty(self.channels, 0, 0, dtype=torch.uint8)

    def __len__(self) -> int:
        return len(self._shapes)

    def read(self, index: int) -> Tensor:
        if index in self._bad:
            raise BadPicture(self._bad[index])
        height, width = (int(side) for side in self._shapes[index])
        pixels = self._block[self._ends[index] : self._ends[index + 1]]
        return pixels.view(height, width, self.channels).permute(2, 0, 1)

    def name(self, index: int) -> str:
        return self._pictures.name(index)


def cached(pictures: Pictures, wanted: bool | Literal["auto"], threads: int) -> Pictures:
    """The pictures, in memory where that is wanted; with `auto` where they fit into a quarter of what is free."""
    if wanted == "auto":
        wanted = _bytes_needed(pictures) < SHARE_OF_MEMORY * free_memory()
    return CachedPictures(pictures, threads) if wanted else pictures


def _bytes_needed(pictures: Pictures) -> float:
    """Estimated from a few pictures; unreadable ones count for nothing."""
    sizes = []
    for index in np.linspace(0, len(pictures) - 1, min(SAMPLE, len(pictures)), dtype=int):
        try:
            sizes.append(pictures.read(int(index)).numel())
        except BadPicture:
            sizes.append(0)
    return float(np.mean(sizes)) * len(pictures)


def free_memory() -> float:
    """Bytes of memory that are free, as far as the system tells; within a container, of the container's share."""
    try:
        free = float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        return 4e9
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            with open(limit) as most, open(used) as now:
                free = min(free, float(most.read()) - float(now.read()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return max(free, 0.0)

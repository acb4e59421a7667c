"""Pictures to measure with where there are none: clouds of all sizes, which compress and decode as photographs do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from swav_cli.data.pictures import Pictures
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError
from swav_cli.recipe.usual import SMALL

PHOTO = (375, 500)  # pixels of ImageNet's usual photograph, which crops of 224 are cut from
OF_CROPS = 224
QUALITY = 90
GRAIN = 10.0  # grey levels of the finest clouds: with them a file takes 0.6 bytes a pixel, as ImageNet's do


def usual_size(crop: int) -> tuple[int, int]:
    """Height and width of the pictures that crops of so many pixels are usually cut from.

    >>> usual_size(224), usual_size(128), usual_size(32)
    ((375, 500), (214, 286), (32, 32))
    """
    if crop <= SMALL:
        return crop, crop
    height, width = (round(side * crop / OF_CROPS) for side in PHOTO)
    return height, width


class Clouds(Pictures):
    """Pictures of clouds, each size of them as strong as the others, as in photographs; the same every time."""

    source = "made up"

    def __init__(self, count: int, size: tuple[int, int], channels: int = 3) -> None:
        self.count, self.size, self.channels = count, size, channels

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Tensor:
        drawn = torch.Generator().manual_seed(index)
        found = torch.full((1, self.channels, *self.size), 128.0)
        cells = 2
        while cells < 2 * max(self.size):
            sides = [min(side, -(-cells * side // max(self.size))) for side in self.size]
            gray = torch.randn(1, 1, *sides, generator=drawn)
            colour = torch.randn(1, self.channels, *sides, generator=drawn)
            strength = GRAIN if cells >= max(self.size) else 2 * GRAIN
            found += strength * F.interpolate(gray + 0.3 * colour, self.size, mode="bilinear")
            cells *= 2
        return found[0].clamp(0, 255).to(torch.uint8)

    def name(self, index: int) -> str:
        return f"{self.source} {index}"

    def fingerprint(self) -> str:
        return f"{self.source} {self.count} {self.size}"


def as_files(pictures: Pictures, count: int, folder: Path) -> Pictures:
    """Some of the pictures as JPEG files in a folder.

    Raises:
        UserError: JPEG files have no such channels.
    """
    if pictures.channels not in (1, 3):
        raise UserError(
            f"pictures of {pictures.channels} channels are no JPEG files, which are made up here; name some with --data"
        )
    for index in range(count):
        pixels = pictures.read(index % len(pictures)).permute(1, 2, 0).numpy()
        Image.fromarray(pixels.squeeze(-1) if pictures.channels == 1 else pixels).save(
            folder / f"{index:05}.jpg", quality=QUALITY
        )
    return open_pictures(str(folder), channels=pictures.channels)


def bytes_a_file(folder: Path) -> int:
    """In the mean."""
    return int(np.mean([path.stat().st_size for path in folder.iterdir()]))


class Repeated(Pictures):
    """Some pictures in place of as many as a run has: the first one comes again behind the last."""

    def __init__(self, pictures: Pictures, count: int) -> None:
        self.pictures, self.count = pictures, count
        self.source, self.channels = pictures.source, pictures.channels

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Tensor:
        return self.pictures.read(index % len(self.pictures))

    def name(self, index: int) -> str:
        return self.pictures.name(index % len(self.pictures))

    def fingerprint(self) -> str:
        return f"{self.pictures.fingerprint()} {self.count}"

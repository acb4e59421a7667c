"""Multi-crop (arXiv 2006.09882, section 3.3): several crops of one picture, drawn as numbers and cut as uint8.

What happens to a picture depends on (seed, epoch, index) alone. The boxes follow torchvision's RandomResizedCrop; the
colour numbers drawn here are applied to whole batches by `photometric.py`, on the training device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

TRIES = 10  # draws of a box before the middle of the picture is taken, as in torchvision
ASPECT = (3 / 4, 4 / 3)
JITTERS = 4  # brightness, contrast, saturation, hue

# Columns of a crop's colour numbers. An operation that does not take place has the number that changes nothing.
FLIP, BRIGHTNESS, CONTRAST, SATURATION, HUE, GRAY, SIGMA, FIRST_JITTER = range(8)
COLUMNS = FIRST_JITTER + JITTERS  # the last four: the order of the jitters


@dataclass(frozen=True)
class CropSize:
    """`count` square crops of `size` pixels, each of `scale` (least, most) of the picture's area."""

    count: int
    size: int
    scale: tuple[float, float]


class Colour(NamedTuple):
    """Probabilities and strengths of what is done to a crop's colours; see the recipe's `augment`."""

    flip: float = 0.5
    jitter: float = 0.8
    brightness: float = 0.8
    contrast: float = 0.8
    saturation: float = 0.8
    hue: float = 0.2
    grayscale: float = 0.2
    blur: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)


class MultiCrop:
    """Draws and cuts the crops of one picture after another."""

    def __init__(self, sizes: Sequence[CropSize], colour: Colour, seed: int) -> None:
        self.sizes = list(sizes)
        self.colour = colour
        self.seed = seed
        self._scales = np.array([size.scale for size in self.sizes for _ in range(size.count)])  # (V, 2)

    def generator(self, epoch: int, index: int) -> np.random.Generator:
        """The random numbers of one picture in one epoch, whoever asks for them."""
        return np.random.Generator(np.random.Philox(key=[self.seed, (epoch << 40) + index]))

    def __call__(self, picture: Tensor, epoch: int, index: int) -> tuple[list[Tensor], Tensor]:
        """Crops of a picture (C, H, W): for each size (count, C, size, size), all uint8, and numbers (V, COLUMNS)."""
        generator = self.generator(epoch, index)
        boxes = draw_boxes(generator, picture.shape[1], picture.shape[2], self._scales).tolist()
        numbers = draw_colours(generator, len(boxes), self.colour)
        crops, first = [], 0
        for size in self.sizes:
            own = boxes[first : first + size.count]
            crops.append(torch.cat([cut(picture, box, size.size) for box in own]))
            first += size.count
        return crops, torch.from_numpy(numbers)


def draw_boxes(
    generator: np.random.Generator,
    height: int,
    width: int,
    scales: NDArray[np.float64],  # (V, 2): least and most of the area
) -> NDArray[np.int64]:  # (V, 4): top, left, height, width in pixels
    """Boxes distributed as RandomResizedCrop's: area uniform, aspect log-uniform, the first of ten that fits."""
    crops = len(scales)
    areas = height * width * generator.uniform(scales[:, :1], scales[:, 1:], (crops, TRIES))
    aspects = np.exp(generator.uniform(math.log(ASPECT[0]), math.log(ASPECT[1]), (crops, TRIES)))
    places = generator.random((crops, 2))
    widths = np.rint(np.sqrt(areas * aspects)).astype(np.int64)
    heights = np.rint(np.sqrt(areas / aspects)).astype(np.int64)
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = fits.argmax(axis=1)
    rows = np.arange(crops)
    h, w = heights[rows, first], widths[rows, first]
    top = (places[:, 0] * (height - h + 1)).astype(np.int64)
    left = (places[:, 1] * (width - w + 1)).astype(np.int64)
    boxes = np.stack([top, left, h, w], axis=1)
    boxes[~fits.any(axis=1)] = middle_box(height, width)
    return boxes


def middle_box(height: int, width: int) -> tuple[int, int, int, int]:
    """The largest box of an allowed aspect in the middle of the picture."""
    w, h = width, height
    if width / height < ASPECT[0]:
        h = round(width / ASPECT[0])
    elif width / height > ASPECT[1]:
        w = round(height * ASPECT[1])
    return (height - h) // 2, (width - w) // 2, h, w


def draw_colours(generator: np.random.Generator, crops: int, colour: Colour) -> NDArray[np.float32]:  # (V, COLUMNS)
    """What is done to each crop's colours, as numbers."""
    chance = generator.random((crops, 4))
    strength = generator.random((crops, JITTERS + 1))
    numbers = np.zeros((crops, COLUMNS), dtype=np.float32)
    numbers[:, FLIP] = chance[:, 0] < colour.flip
    jittered = chance[:, 1] < colour.jitter
    for column, most in zip(
        (BRIGHTNESS, CONTRAST, SATURATION), (colour.brightness, colour.contrast, colour.saturation), strict=True
    ):
        least = max(0.0, 1 - most)
        factor = least + strength[:, column - BRIGHTNESS] * (1 + most - least)
        numbers[:, column] = np.where(jittered, factor, 1)
    numbers[:, HUE] = np.where(jittered, (2 * strength[:, HUE - BRIGHTNESS] - 1) * colour.hue, 0)
    numbers[:, GRAY] = chance[:, 2] < colour.grayscale
    least, most = colour.blur_sigma
    numbers[:, SIGMA] = np.where(chance[:, 3] < colour.blur, least + strength[:, JITTERS] * (most - least), 0)
    numbers[:, FIRST_JITTER:] = generator.random((crops, JITTERS)).argsort(axis=1)
    return numbers


def cut(picture: Tensor, box: Sequence[int], size: int) -> Tensor:  # (C, H, W) uint8 -> (1, C, size, size) uint8
    """The box of a picture, resized with antialiased bilinear interpolation."""
    top, left, height, width = box
    crop = picture[None, :, top : top + height, left : left + width]
    # torch has a fast uint8 path for channels-last pictures; the copy costs less than it saves.
    crop = crop.contiguous(memory_format=torch.channels_last)
    return F.interpolate(crop, (size, size), mode="bilinear", antialias=True)

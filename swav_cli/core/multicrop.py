"""Multi-crop (arXiv 2006.09882, section 3.3): several crops of one picture, drawn as numbers and cut as uint8.

What happens to a picture depends on (seed, epoch, index) alone. The boxes follow torchvision's RandomResizedCrop; the
colour numbers drawn here are applied to whole batches by `photometric.py`, on the training device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from swav_cli.data.pictures import Pictures
from swav_cli.recipe.schema import Recipe
from swav_cli.recipe.sections import AugmentRecipe, CropRecipe

TRIES = 10  # draws of a box before the middle of the picture is taken, as in torchvision
ASPECT = (3 / 4, 4 / 3)
JITTERS = 4  # brightness, contrast, saturation, hue

# Columns of a crop's colour numbers. An operation that does not take place has the number that changes nothing.
FLIP, BRIGHTNESS, CONTRAST, SATURATION, HUE, GRAY, SIGMA, FIRST_JITTER = range(8)
COLUMNS = FIRST_JITTER + JITTERS  # the last four: the order of the jitters


class MultiCrop:
    """Draws and cuts the crops of one picture after another.

    >>> large, small = CropRecipe(count=2, size=224, scale=(0.14, 1)), CropRecipe(count=6, size=96, scale=(0.05, 0.14))
    >>> multicrop = MultiCrop([large, small], AugmentRecipe(), seed=0)
    >>> crops, numbers = multicrop(torch.zeros(3, 300, 400, dtype=torch.uint8), epoch=0, index=0)
    >>> [tuple(part.shape) for part in crops], tuple(numbers.shape)
    ([(2, 3, 224, 224), (6, 3, 96, 96)], (8, 11))

    Args:
        seed: of all crops; those of a picture follow from it, the epoch and the picture's number.
    """

    def __init__(self, kinds: Sequence[CropRecipe], augment: AugmentRecipe, seed: int) -> None:
        self.kinds = list(kinds)
        self.augment = augment
        self.seed = seed
        self._scales = np.array([kind.scale for kind in self.kinds for _ in range(kind.count)])  # (V, 2)

    def generator(self, epoch: int, index: int) -> np.random.Generator:
        """The random numbers of one picture in one epoch, whoever asks for them."""
        return np.random.Generator(np.random.Philox(key=[self.seed, (epoch << 40) + index]))

    def __call__(self, picture: Tensor, epoch: int, index: int) -> tuple[list[Tensor], Tensor]:
        """Crops of a picture (C, H, W): for each kind (count, C, size, size), all uint8, and numbers (V, COLUMNS)."""
        drawn, numbers = self.draw(picture.shape[1], picture.shape[2], epoch, index)
        boxes = drawn.tolist()
        crops, first = [], 0
        for kind in self.kinds:
            own = boxes[first : first + kind.count]
            crops.append(torch.cat([cut(picture, box, kind.size) for box in own]))
            first += kind.count
        return crops, numbers

    def draw(self, height: int, width: int, epoch: int, index: int) -> tuple[NDArray[np.int64], Tensor]:
        """Boxes (V, 4) and numbers (V, COLUMNS) of a picture of that size."""
        generator = self.generator(epoch, index)
        boxes = draw_boxes(generator, height, width, self._scales)
        return boxes, torch.from_numpy(draw_colours(generator, len(boxes), self.augment))


@dataclass(frozen=True)
class Reduction:
    """By what JPEGs may be decoded smaller, so that the smallest box of any crop still has twice the crop's size.

    >>> reduction = Reduction.of([CropRecipe(count=2, size=128, scale=(0.25, 1.0))])
    >>> reduction(3000, 4000), reduction(1200, 1600), reduction(375, 500)
    (4, 2, 1)

    What is cut from such a picture differs from what is cut from the whole one by less than a grey level in the mean:
    0.8, 0.95 and 0.99 of 255 at a half, a quarter and an eighth, in the crops that differ most.
    """

    kinds: tuple[tuple[float, int], ...]  # least share of the area, size

    @classmethod
    def of(cls, kinds: Sequence[CropRecipe]) -> Reduction:
        return cls(tuple((kind.scale[0], kind.size) for kind in kinds))

    def __call__(self, height: int, width: int) -> int:
        spare = min(
            min(math.sqrt(least * height * width * ASPECT[0]), height, width) / (2 * size) for least, size in self.kinds
        )
        return max(factor for factor in (1, 2, 4, 8) if factor <= max(1, spare))


def decode_for_crops(pictures: Pictures, recipe: Recipe) -> None:
    """From here on decode pictures no larger than a recipe's crops need, where it allows that."""
    if recipe.data.scaled_decoding:
        pictures.decode_for(Reduction.of(recipe.crops))


def draw_boxes(
    generator: np.random.Generator,
    height: int,
    width: int,
    scales: NDArray[np.float64],  # (V, 2): least and most of the area
) -> NDArray[np.int64]:  # (V, 4): top, left, height, width in pixels
    """Boxes distributed as RandomResizedCrop's: area uniform, aspect log-uniform, the first of ten that fits.

    >>> draw_boxes(np.random.default_rng(0), height=100, width=200, scales=np.array([[0.1, 0.2], [1.0, 1.0]]))
    array([[ 20,  48,  66,  50],
           [  0,  33, 100, 133]])
    """
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


def draw_colours(
    generator: np.random.Generator, crops: int, augment: AugmentRecipe
) -> NDArray[np.float32]:  # (V, COLUMNS)
    """What is done to each crop's colours, as numbers; chances and strengths are those of the recipe's `augment`."""
    chance = generator.random((crops, 4))
    strength = generator.random((crops, JITTERS + 1))
    numbers = np.zeros((crops, COLUMNS), dtype=np.float32)
    numbers[:, FLIP] = chance[:, 0] < augment.flip
    jittered = chance[:, 1] < augment.jitter
    for column, most in zip(
        (BRIGHTNESS, CONTRAST, SATURATION), (augment.brightness, augment.contrast, augment.saturation), strict=True
    ):
        least = max(0.0, 1 - most)
        factor = least + strength[:, column - BRIGHTNESS] * (1 + most - least)
        numbers[:, column] = np.where(jittered, factor, 1)
    numbers[:, HUE] = np.where(jittered, (2 * strength[:, HUE - BRIGHTNESS] - 1) * augment.hue, 0)
    numbers[:, GRAY] = chance[:, 2] < augment.grayscale
    least, most = augment.blur_sigma
    numbers[:, SIGMA] = np.where(chance[:, 3] < augment.blur, least + strength[:, JITTERS] * (most - least), 0)
    numbers[:, FIRST_JITTER:] = generator.random((crops, JITTERS)).argsort(axis=1)
    return numbers


def cut(picture: Tensor, box: Sequence[int], size: int) -> Tensor:  # (C, H, W) uint8 -> (1, C, size, size) uint8
    """The box of a picture, resized with antialiased bilinear interpolation."""
    top, left, height, width = box
    crop = picture[None, :, top : top + height, left : left + width]
    # torch has a fast uint8 path for channels-last pictures; the copy costs less than it saves.
    crop = crop.contiguous(memory_format=torch.channels_last)
    return F.interpolate(crop, (size, size), mode="bilinear", antialias=True)

"""What a network makes of pictures, in the order of the pictures."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from swav_cli.core.layers import Function
from swav_cli.core.precision import autocast, memory_format
from swav_cli.core.transfer import moved
from swav_cli.core.weights import CROP_PCT, About
from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.loader import Batch, read_batches, stacked
from swav_cli.evaluate.inference import PLAIN, Inference

SMALL = 64  # pixels; pictures up to this size are compared by their raw pixels too

THIN, PART = 8, 4  # a picture this many times as long as wide is thin, and this many squares in its middle are resized


FeatureRows = Tensor | NDArray[Any]  # (N, F) of any floating type, in memory or mapped into it


class Rows(NamedTuple):
    """What a function makes of some pictures, a row each; the row of a picture that can't be read is NaN."""

    indices: Tensor  # (B,)
    values: Tensor  # (B, ...) float32, on the CPU
    bad: list[tuple[int, str]]  # index and reason
    told: Tensor  # (B, n) what the reader told of each picture beside its pixels; n is mostly 0


class Squares(Dataset[Batch]):
    """Pictures at the size at which a model is judged, a batch at a time; runs in the workers.

    Each is the only crop of its picture, and one that can't be read is black.
    """

    def __init__(self, pictures: Pictures, size: int, crop_pct: float = CROP_PCT) -> None:
        self.pictures, self.size, self.crop_pct = pictures, size, crop_pct

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        bad: list[tuple[int, str]] = []
        cut = (self.square(index, bad) for index in indices)
        return Batch(*stacked(cut, len(indices)), torch.tensor(indices), bad)

    def square(self, index: int, bad: list[tuple[int, str]]) -> tuple[list[Tensor], Tensor]:
        """One picture's, as `stacked` takes them; `bad` is told where it can't be read."""
        try:
            picture = self.pictures.read(index)
            square = middle_square(picture, self.size, self.crop_pct)
        except BadPicture as error:
            bad.append((index, str(error)))
            picture = square = torch.zeros(self.pictures.channels, self.size, self.size, dtype=torch.uint8)
        return [square[None]], self.told(picture)[None]

    def told(self, picture: Tensor) -> Tensor:  # (C, H, W) -> (n,)
        """What a reader of batches is to know of a picture beside its square, as float numbers; nothing."""
        return torch.empty(0)


def read_squares(
    squares: Squares, chosen: Sequence[int], batch_size: int, workers: int, pin_memory: bool = False
) -> Generator[Batch, None, None]:
    """The chosen ones in their order; see `read_batches` for what becomes of workers that are killed."""

    def rest(batches: int) -> dict[str, Any]:
        return {"dataset": squares, "sampler": chosen[batches * batch_size :], "batch_size": batch_size}

    sample = [squares.__getitems__(chosen[:1])] if workers and chosen else []
    return read_batches(
        rest, math.ceil(len(chosen) / batch_size), min(batch_size, len(chosen)), sample, workers, pin_memory
    )


def middle_square(picture: Tensor, size: int, crop_pct: float = CROP_PCT) -> Tensor:  # (C, H, W) -> (C, size, size)
    """The middle of the picture, which has that share of its shorter side: 224 of 256, as published.

    Its place is that of torchvision's Resize and CenterCrop. A square of that size stays as it is.
    """
    height, width = picture.shape[1:]
    if height == width == size:
        return picture
    if max(height, width) > THIN * min(height, width):
        return _middle_of_thin(picture, size, crop_pct)
    short = round(size / crop_pct)
    shape = (short, int(short * width / height)) if height < width else (int(short * height / width), short)
    resized = F.interpolate(picture[None], shape, mode="bilinear", antialias=True)[0]
    top, left = round((shape[0] - size) / 2), round((shape[1] - size) / 2)
    return resized[:, top : top + size, left : left + size]


def _middle_of_thin(picture: Tensor, size: int, crop_pct: float) -> Tensor:
    """The same without the ends, which would be enlarged in vain: those of a line of 60,000 pixels to gigabytes."""
    height, width = picture.shape[1:]
    if height < width:
        return _middle_of_thin(picture.transpose(1, 2), size, crop_pct).transpose(1, 2)
    kept = PART * width  # whole squares, so that each pixel keeps its size
    first = (height - kept) // 2
    short = round(size / crop_pct)
    part = picture[:, first : first + kept].contiguous()
    resized = F.interpolate(part[None], (PART * short, short), mode="bilinear", antialias=True)[0]
    middle = (height / 2 - first) * short / width
    top, left = round(middle - size / 2), round((short - size) / 2)
    return resized[:, top : top + size, left : left + size]


class Forward:
    """A function of normalised pictures, run over batches of squares."""

    def __init__(self, function: Function, about: About, how: Inference) -> None:
        self._function, self._how = function, how
        self._mean, self._std = (
            torch.tensor(values, device=how.device)[:, None, None] for values in (about.mean, about.std)
        )

    def __call__(self, batch: Batch) -> Rows:
        device, precision = self._how.device, self._how.precision
        pixels = moved(batch.crops[0].squeeze(1), device)
        x = pixels.contiguous(memory_format=memory_format(device)).float().div_(255).sub_(self._mean).div_(self._std)
        x = x.double() if precision == "float64" else x
        with torch.no_grad(), autocast(device, precision):
            values = self._function(x).float().cpu()
        unread = torch.tensor([index for index, _ in batch.bad], dtype=torch.long)
        values[torch.isin(batch.indices, unread)] = math.nan
        return Rows(batch.indices, values, batch.bad, batch.numbers[:, 0])


def stream_features(
    function: Function,  # (B, C, size, size) normalised -> (B, ...)
    pictures: Pictures,
    about: About,
    how: Inference = PLAIN,
    indices: Sequence[int] | None = None,
    reader: type[Squares] = Squares,
) -> Generator[Rows, None, None]:
    """What a function makes of every picture, or of those named by `indices`, in their order and a batch at a time.

    Args:
        about: how pictures are prepared: size, crop_pct, mean and std.
        reader: what is told of each picture beside its pixels.
    """
    batch_size, workers = how.batch(about.size), how.readers(pictures, about.size)
    chosen = range(len(pictures)) if indices is None else indices
    forward = Forward(function, about, how)
    squares = reader(pictures, about.size, about.crop_pct)
    with closing(read_squares(squares, chosen, batch_size, workers, how.device.type == "cuda")) as batches:
        yield from map(forward, batches)


def extract_features(
    function: Function,  # (B, C, size, size) normalised -> (B, F)
    pictures: Pictures,
    about: About,
    how: Inference = PLAIN,
) -> Tensor:  # (N, F) float32 on the CPU
    """The same at once, row i for picture i.

    >>> from swav_cli import SwAV, open_pictures
    >>> network = SwAV("resnet18", width=16, stem="small").eval()
    >>> extract_features(network.features, open_pictures("shapes:10"), About("", size=32)).shape
    torch.Size([10, 128])
    """
    return torch.cat([part.values for part in stream_features(function, pictures, about, how)])

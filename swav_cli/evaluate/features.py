"""Features of pictures, in the order of the pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from swav_cli.core.precision import autocast
from swav_cli.data.images import BadPicture
from swav_cli.data.loader import start, start_worker
from swav_cli.data.sources import Pictures

SMALL = 64  # pixels; pictures up to this size are compared by their raw pixels too


class Rows(NamedTuple):
    """What a function makes of some pictures, a row each; the row of a picture that can't be read is NaN."""

    indices: Tensor  # (B,)
    values: Tensor  # (B, ...) float32, on the CPU
    bad: list[tuple[int, str]]  # index and reason


class Prepared(Dataset[tuple[Tensor, str]]):
    """Pictures at the size at which a model is judged, and why one can't be read (else nothing)."""

    def __init__(self, pictures: Pictures, size: int) -> None:
        self.pictures, self.size = pictures, size

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, str]:
        try:
            return middle_square(self.pictures.read(index), self.size), ""
        except BadPicture as error:
            return torch.zeros(self.pictures.channels, self.size, self.size, dtype=torch.uint8), str(error)


def middle_square(picture: Tensor, size: int) -> Tensor:  # (C, H, W) -> (C, size, size)
    """The middle of the picture with its shorter side at 256 / 224 of the size, as published.

    Its place is that of torchvision's Resize and CenterCrop. A square of that size stays as it is.
    """
    height, width = picture.shape[1:]
    if height == width == size:
        return picture
    short = round(size * 256 / 224)
    shape = (short, int(short * width / height)) if height < width else (int(short * height / width), short)
    resized = F.interpolate(picture[None], shape, mode="bilinear", antialias=True)[0]
    top, left = round((shape[0] - size) / 2), round((shape[1] - size) / 2)
    return resized[:, top : top + size, left : left + size]


def stream_features(
    function: Callable[[Tensor], Tensor],  # (B, C, size, size) normalised -> (B, ...)
    pictures: Pictures,
    *,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device,
    precision: str = "float32",
    batch_size: int = 256,
    workers: int = 0,
    indices: Sequence[int] | None = None,
) -> Iterator[Rows]:
    """What a function makes of every picture, or of those named by `indices`, in their order and a batch at a time."""
    chosen = range(len(pictures)) if indices is None else indices
    loader = DataLoader(
        Prepared(pictures, size),
        sampler=chosen,
        batch_size=batch_size,
        num_workers=workers,
        worker_init_fn=start_worker,
    )
    average = torch.tensor(mean, device=device)[:, None, None]
    deviation = torch.tensor(std, device=device)[:, None, None]
    done = 0
    for batch, reasons in start(loader):
        x = (batch.to(device).float() / 255 - average) / deviation
        with torch.no_grad(), autocast(device, precision):
            values = function(x.contiguous(memory_format=torch.channels_last)).float().cpu()
        own = [int(index) for index in chosen[done : done + len(batch)]]
        done += len(batch)
        unread = torch.tensor([bool(reason) for reason in reasons])
        values[unread] = math.nan
        bad = [(index, reason) for index, reason in zip(own, reasons, strict=True) if reason]
        yield Rows(torch.tensor(own), values, bad)


def extract_features(
    function: Callable[[Tensor], Tensor],  # (B, C, size, size) normalised -> (B, F)
    pictures: Pictures,
    *,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device,
    precision: str = "float32",
    batch_size: int = 256,
    workers: int = 0,
) -> Tensor:  # (N, F) float32 on the CPU
    """The same at once, row i for picture i."""
    rows = stream_features(
        function, pictures, size=size, mean=mean, std=std, device=device, precision=precision, batch_size=batch_size,
        workers=workers,
    )  # fmt: skip
    return torch.cat([part.values for part in rows])

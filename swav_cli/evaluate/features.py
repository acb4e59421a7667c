"""Features of pictures, in the order of the pictures."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from swav_cli.core.precision import autocast
from swav_cli.data.images import BadPicture
from swav_cli.data.loader import start, start_worker
from swav_cli.data.sources import Pictures

SMALL = 64  # pixels; pictures up to this size are compared by their raw pixels too


class Prepared(Dataset[Tensor]):
    """Pictures at the size at which a model is judged: the middle square, of 7/8 of the shorter side."""

    def __init__(self, pictures: Pictures, size: int) -> None:
        self.pictures, self.size = pictures, size

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Tensor:
        """uint8 (C, size, size); a picture that can't be read is black, and its number in the list is kept."""
        try:
            return middle_square(self.pictures.read(index), self.size)
        except BadPicture:
            return torch.zeros(self.pictures.channels, self.size, self.size, dtype=torch.uint8)


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


@torch.no_grad()
def extract_features(
    function: Callable[[Tensor], Tensor],  # (B, C, size, size) normalised -> (B, F)
    pictures: Pictures,
    *,
    size: int,
    mean: list[float],
    std: list[float],
    device: torch.device,
    precision: str = "float32",
    batch_size: int = 256,
    workers: int = 0,
) -> Tensor:  # (N, F) float32 on the CPU
    """What a function makes of every picture, row i for picture i."""
    loader = DataLoader(
        Prepared(pictures, size), batch_size=batch_size, num_workers=workers, worker_init_fn=start_worker
    )
    average = torch.tensor(mean, device=device)[:, None, None]
    deviation = torch.tensor(std, device=device)[:, None, None]
    rows = []
    for batch in start(loader):
        x = (batch.to(device).float() / 255 - average) / deviation
        with autocast(device, precision):
            rows.append(function(x.contiguous(memory_format=torch.channels_last)).float().cpu())
    return torch.cat(rows)

"""Sheets of pictures, as PNG files: crops as the network sees them, and pictures that belong together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from swav_cli.report.marked import save_sheet

GAP = 2  # pixels around a picture
SIDE = 96  # pixels; smaller pictures are shown about as large
WIDTH = 1280  # pixels of a sheet, where its pictures leave the choice


def save_crops(path: Path, views: list[Tensor], mean: Tensor, std: Tensor) -> None:
    """The crops of one picture stand together; several pictures share a line where there is room.

    Args:
        views: V tensors (B, C, size, size), as the network takes them; their normalisation is undone.
    """
    groups = crop_strips(views, mean, std)
    across = max(1, min(len(groups), WIDTH // (groups[0].shape[2] + 4 * GAP)))
    save_grid(path, [F.pad(group, (2 * GAP, 2 * GAP, GAP, GAP), value=1.0) for group in groups], across)


def crop_strips(views: list[Tensor], mean: Tensor, std: Tensor) -> list[Tensor]:
    """The crops of each picture side by side, (3, H, W) from 0 to 1, of one size; see `save_crops`."""
    shown = [_visible(view.float().cpu() * std.cpu()[:, None, None] + mean.cpu()[:, None, None]) for view in views]
    tall = max(view.shape[2] for view in shown)
    return [torch.cat([_framed(view[picture], tall) for view in shown], dim=2) for picture in range(len(views[0]))]


def save_rows(path: Path, rows: Sequence[Sequence[Tensor]]) -> None:
    """A line for each row of pictures, uint8 (C, H, W) of any size, shown as squares of one size."""
    squares = [_framed(_visible(_square(picture)[None].float() / 255)[0], SIDE) for row in rows for picture in row]
    save_grid(path, squares, len(rows[0]))


def save_grid(path: Path, tiles: list[Tensor], across: int) -> None:  # tiles: (3, H, W), 0 to 1, of one size
    blank = torch.ones_like(tiles[0])
    lines = [tiles[start : start + across] for start in range(0, len(tiles), across)]
    lines[-1] = lines[-1] + [blank] * (across - len(lines[-1]))
    sheet = torch.cat([torch.cat(line, dim=2) for line in lines], dim=1)
    save_sheet(path, as_image(sheet))


def as_image(pixels: Tensor) -> Image.Image:  # (3, H, W), 0 to 1
    return Image.fromarray(pixels.permute(1, 2, 0).mul(255).round().clamp(0, 255).to(torch.uint8).numpy())


def _visible(pictures: Tensor) -> Tensor:  # (N, C, h, w) -> (N, 3, H, W): three channels, and large enough to see
    three = pictures[:, :3] if pictures.shape[1] >= 3 else pictures[:, :1].expand(-1, 3, -1, -1)
    times = max(1, SIDE // pictures.shape[-1])
    return F.interpolate(three.clamp(0, 1), scale_factor=times, mode="nearest")


def _square(picture: Tensor) -> Tensor:
    """The middle square, shrunk to a tile where it is larger."""
    side = min(picture.shape[1:])
    top, left = (picture.shape[1] - side) // 2, (picture.shape[2] - side) // 2
    square = picture[:, top : top + side, left : left + side]
    if side <= SIDE:
        return square
    return F.interpolate(square[None], (SIDE, SIDE), mode="bilinear", antialias=True)[0]


def _framed(picture: Tensor, side: int) -> Tensor:  # (3, h, w) -> (3, side + 2 GAP, side + 2 GAP)
    height, width = picture.shape[1:]
    right, below = max(side - width, 0), max(side - height, 0)
    padding = (GAP + right // 2, GAP + right - right // 2, GAP + below // 2, GAP + below - below // 2)
    return F.pad(picture, padding, value=1.0)

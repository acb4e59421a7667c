"""Many small pictures for a page: some by themselves, and very many on sheets, which take a tenth of the bytes each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from swav_cli.data.pictures import Pictures
from swav_cli.errors import Told, silent
from swav_cli.evaluate.features import Squares, read_squares
from swav_cli.report.pages.pictures import data_address
from swav_cli.report.sheet import as_image

SIDE = 96  # pixels of a picture that stands by itself
ACROSS = 32  # tiles of a sheet, each way
BATCH = 256
QUALITY, TILE_QUALITY = 75, 60


@dataclass(frozen=True)
class Thumbnails:
    """Addresses of pictures and of sheets; a tile's place on the sheets follows from its number."""

    shown: dict[int, str] = field(default_factory=dict)  # by the picture's number
    sheets: list[str] = field(default_factory=list)
    tiles: list[int] = field(default_factory=list)  # picture of each tile, a sheet after another, line by line
    side: int = 0  # pixels of a tile


def thumbnails(
    pictures: Pictures,
    shown: Sequence[int],
    tiled: Sequence[int],
    side: int,
    workers: int = 0,
    progress: Told = silent,
) -> Thumbnails:
    """The middle squares of some pictures, each read once.

    Args:
        shown: pictures that stand by themselves.
        tiled: those that are put on sheets, as squares of `side` pixels.
        progress: told of pictures read, and of pictures in all.
    """
    wanted = sorted({*shown, *tiled})
    alone, on_sheets = set(shown), set(tiled)
    found = Thumbnails(side=side)
    sheet: list[Tensor] = []

    def take(index: int, square: Tensor) -> None:  # (C, SIDE, SIDE) uint8
        pixels = three_channels(square)
        if index in alone:
            found.shown[index] = data_address(as_image(pixels), QUALITY)
        if index in on_sheets:
            found.tiles.append(index)
            sheet.append(F.interpolate(pixels[None], (side, side), mode="bilinear", antialias=True)[0])
            if len(sheet) == ACROSS**2:
                _close(sheet, found)

    _each(pictures, wanted, workers, take, progress)
    if sheet:
        _close(sheet, found)
    return found


def three_channels(square: Tensor) -> Tensor:  # (C, H, W) uint8 -> (3, H, W), 0 to 1
    three = square[:3] if len(square) >= 3 else square[:1].expand(3, -1, -1)
    return three.float() / 255


def _each(
    pictures: Pictures, wanted: Sequence[int], workers: int, take: Callable[[int, Tensor], None], progress: Told
) -> None:
    squares, done = Squares(pictures, SIDE, 1.0), 0
    for batch in read_squares(squares, wanted, BATCH, workers):
        for index, square in zip(batch.indices.tolist(), batch.crops[0][:, 0], strict=True):
            take(index, square)
        done += len(batch.indices)
        progress(done, len(wanted))


def _close(sheet: list[Tensor], found: Thumbnails) -> None:
    """The tiles become a sheet, and a new one begins."""
    side = found.side
    whole = torch.ones(3, side * -(-len(sheet) // ACROSS), side * ACROSS)
    for number, tile in enumerate(sheet):
        down, across = divmod(number, ACROSS)
        whole[:, down * side : (down + 1) * side, across * side : (across + 1) * side] = tile
    picture: Image.Image = as_image(whole)
    found.sheets.append(data_address(picture, TILE_QUALITY))
    sheet.clear()

"""Ordinary JPEGs by torchcodec, which is quicker than Pillow, turned upright by their EXIF data wherever those lie."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Literal, NamedTuple, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchcodec.decoders import decode_jpeg  # type: ignore[attr-defined]

from swav_cli.data.decoding.formats import Reduce
from swav_cli.data.decoding.orientation import orientation_in, turned

FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF: what the picture is
APP1, SCAN = 0xE1, 0xDA
EXIF = b"Exif\0\0"


class Segment(NamedTuple):
    """A part of a JPEG before its first scan, from its marker to the next one's."""

    marker: int
    start: int
    data: int  # where its own data begin
    stop: int


class Frame(NamedTuple):
    """What a JPEG's SOF segment says."""

    precision: int  # bits
    height: int
    width: int
    components: int

    @classmethod
    def of(cls, content: bytes) -> Frame | None:
        """None where the file breaks off before it, or is no JPEG."""
        return next((_frame(content, part) for part in segments(content) if part.marker in FRAMES), None)


def segments(content: bytes) -> Iterator[Segment]:
    """All of them before the first scan; they end early where something else stands in between."""
    position, size = 2, len(content)
    while position + 4 <= size and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == 0xFF:  # any number of them may come before a marker
            position += 1
            continue
        stop = position + 2 + (content[position + 2] << 8 | content[position + 3])
        if not position + 4 <= stop <= size:
            return
        yield Segment(marker, position, position + 4, stop)
        if marker == SCAN:
            return
        position = stop


def _frame(content: bytes, part: Segment) -> Frame:
    data = content[part.data : part.stop].ljust(6, b"\0")
    return Frame(data[0], int.from_bytes(data[1:3], "big"), int.from_bytes(data[3:5], "big"), data[5])


def decode_plain(
    content: bytes, channels: int, most_pixels: int, reduce: Reduce | None = None
) -> Tensor | None:  # (channels, H, W) uint8
    """A JPEG of gray or YCbCr, which torchcodec turns into RGB as Pillow does; None of others, and of damaged ones."""
    parts = list(segments(content))
    frame = next((_frame(content, part) for part in parts if part.marker in FRAMES), None)
    if frame is None or frame.precision != 8 or frame.components not in (1, 3):
        return None
    if not 0 < frame.height * frame.width <= most_pixels:
        return None
    noted = [part for part in parts if part.marker == APP1 and content.startswith(EXIF, part.data)]
    orientation = 1
    if noted:
        # torchcodec looks for it in the first APP1 alone, as a SHORT; phones put XMP or a thermal picture before it.
        orientation = _orientation(b"".join(content[part.data : part.stop].removeprefix(EXIF) for part in noted))
        content = _without(content, noted)
    by = reduce(frame.height, frame.width) if reduce is not None else 1
    try:
        mode: Literal["RGB", "GRAY"] = "RGB" if channels == 3 else "GRAY"
        picture = cast(Tensor, decode_jpeg(content, mode=mode)) if by == 1 else _decode_smaller(content, channels, by)
    except (RuntimeError, OSError):
        return None
    return turned(picture, orientation)


def _decode_smaller(content: bytes, channels: int, by: int) -> Tensor:
    """A half, a quarter or an eighth of its sides: of each block of 8 by 8 fewer waves are turned into pixels."""
    mode = "RGB" if channels == 3 else "L"
    picture = Image.open(io.BytesIO(content), formats=("JPEG",))
    picture.draft(mode, (picture.width // by, picture.height // by))
    pixels = np.array(picture.convert(mode))
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], channels)).permute(2, 0, 1)


def _without(content: bytes, parts: list[Segment]) -> bytes:
    edges = [0, *(edge for part in parts for edge in (part.start, part.stop)), len(content)]
    return b"".join(content[start:stop] for start, stop in zip(edges[::2], edges[1::2], strict=True))


def _orientation(exif: bytes) -> int:
    """As Pillow reads it: of any type of number, in either order of bytes; 1 where the data are damaged."""
    tags = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tags.load(EXIF + exif)
        return orientation_in(tags)
    except Exception:  # Pillow's reader raises whatever damaged data lead it to
        return 1

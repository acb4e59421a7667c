"""The samples of a TIFF as numbers: its strips or tiles unpacked, in whatever order, depth and planes they lie there.

Pillow, through libtiff, is good at unpacking strips and tiles. It gets them here as those of a gray picture of plain
bytes, and what the bytes mean is settled by numpy (predictors: TIFF 6.0, section 14, and Adobe's Technical Note 3).
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.decoding.tiff_tags import FLOAT, SIGNED, Layout

AT_ONCE = 16_000_000  # bytes that are unpacked together, so that bits and predictors take little memory


def read_plane(content: bytes, layout: Layout, plane: int) -> NDArray[Any]:  # (H, W, samples)
    """The numbers of one plane, or of the only one.

    Raises:
        BadPicture: cut off.
    """
    layout = _in_smaller_strips(layout)
    across = math.ceil(layout.width / layout.chunk[0])
    down = math.ceil(layout.height / layout.chunk[1])
    together = max(1, AT_ONCE // (across * _row_bytes(layout) * layout.chunk[1]))
    rows = []
    for top in range(0, down, together):
        first = (plane * down + top) * across
        height = layout.chunk[1] * min(together, down - top)
        if not layout.tiled:
            height = min(height, layout.height - top * layout.chunk[1])
        chunks = list(_chunks(content, layout, first, across * min(together, down - top), height))
        packed = _unpacked(chunks, layout, across, height)
        rows.append(
            _numbers(packed.reshape(height, across, -1), layout).reshape(height, -1, layout.samples // layout.planes)
        )
    return np.concatenate(rows)[: layout.height, : layout.width]


def _in_smaller_strips(layout: Layout) -> Layout:
    """The same where each plane is one strip, as ImageJ writes it, which needs no unpacking and may be cut anywhere."""
    if layout.tiled or layout.compression != 1 or layout.chunk[1] < layout.height:
        return layout
    size = _row_bytes(layout)
    rows = min(max(1, AT_ONCE // size), layout.height)
    offsets = tuple(first + top * size for first in layout.offsets for top in range(0, layout.height, rows))
    return layout._replace(chunk=(layout.width, rows), offsets=offsets)


def _row_bytes(layout: Layout) -> int:
    """Of one chunk."""
    return (layout.chunk[0] * (layout.samples // layout.planes) * layout.bits + 7) // 8


def _chunks(content: bytes, layout: Layout, first: int, count: int, height: int) -> Iterator[bytes]:
    """The data of strips or tiles, packed as they are."""
    offsets = layout.offsets[first : first + count]
    if len(offsets) < count:
        raise BadPicture("the file is truncated: strips or tiles are missing")
    for place, offset in enumerate(offsets):
        if layout.compression == 1:  # some writers note a wrong count
            rows = layout.chunk[1] if layout.tiled else min(layout.chunk[1], height - place * layout.chunk[1])
            size = rows * _row_bytes(layout)
        else:
            size = layout.counts[first + place] if layout.counts else len(content) - offset
        if offset + size > len(content):
            raise BadPicture("the file is truncated")
        yield content[offset : offset + size]


def _unpacked(chunks: list[bytes], layout: Layout, across: int, height: int) -> NDArray[np.uint8]:
    """Rows of bytes (height, across * row bytes), by Pillow, which takes the chunks for those of a gray picture."""
    width = across * _row_bytes(layout)
    directory_at = 8 + sum(map(len, chunks))
    counts = [len(chunk) for chunk in chunks]
    offsets = np.cumsum([8, *counts[:-1]]).tolist()
    arrays = struct.pack(f"<{2 * len(chunks)}I", *offsets, *counts)
    one = len(chunks) == 1
    offsets_at, counts_at = (offsets[0], counts[0]) if one else (directory_at, directory_at + 4 * len(chunks))
    tags = [(256, 1, width), (257, 1, height), (258, 1, 8), (259, 1, layout.compression), (262, 1, 1),
            (266, 1, layout.fill_order)]  # fmt: skip
    if layout.tiled:
        tags += [(322, 1, _row_bytes(layout)), (323, 1, layout.chunk[1])]
        tags += [(324, len(chunks), offsets_at), (325, len(chunks), counts_at)]
    else:
        tags += [(273, len(chunks), offsets_at), (277, 1, 1), (278, 1, layout.chunk[1]), (279, len(chunks), counts_at)]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, *rest) for tag, *rest in tags)
    start = struct.pack("<2sHI", b"II", 42, directory_at + len(arrays))
    try:
        with Image.open(
            io.BytesIO(b"".join([start, *chunks, arrays, directory, bytes(4)])), formats=("TIFF",)
        ) as opened:
            return np.asarray(opened)
    except Image.DecompressionBombError:
        raise BadPicture("a TIFF that is compressed in one large piece; save it in strips or tiles") from None


def _numbers(
    packed: NDArray[np.uint8], layout: Layout
) -> NDArray[Any]:  # (H, across, bytes) -> (H, across, W, samples)
    """The samples that the bytes of each chunk's row hold, in the machine's own order of bytes."""
    together = layout.samples // layout.planes
    count = layout.chunk[0] * together
    shape = (*packed.shape[:2], layout.chunk[0], together)
    if layout.bits not in (8, 16, 32, 64):
        return _from_bits(packed, layout.bits, count).reshape(shape)
    size = layout.bits // 8
    if layout.predictor == 3:
        # The bytes of all samples, the highest first, each kind by itself and as differences.
        whole = packed.reshape(*packed.shape[:2], -1, together).cumsum(axis=2, dtype=np.uint8)
        kinds = whole.reshape(*packed.shape[:2], size, count)
        return np.ascontiguousarray(kinds.swapaxes(2, 3)).view(f">f{size}").astype(f"=f{size}").reshape(shape)
    order = "<" if layout.little_endian else ">"
    values = packed.view(f"{order}u{size}").astype(f"=u{size}", copy=False).reshape(shape)
    if layout.predictor == 2:
        values = values.cumsum(axis=2, dtype=values.dtype)
    return values.view({FLOAT: f"=f{size}", SIGNED: f"=i{size}"}.get(layout.form, f"=u{size}"))


def _from_bits(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint16]:
    """Numbers of up to 16 bits that follow each other without a gap, the highest bit first."""
    ones = np.unpackbits(packed, axis=2)[:, :, : count * bits].reshape(*packed.shape[:2], count, bits)
    padded = np.concatenate([np.zeros((*ones.shape[:3], 16 - bits), np.uint8), ones], axis=3)
    return np.packbits(padded, axis=3).view(">u2")[..., 0].astype(np.uint16)

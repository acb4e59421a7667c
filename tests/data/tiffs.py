"""TIFFs written tag by tag, of kinds that Pillow does not write."""

from __future__ import annotations

import struct
import zlib
from typing import Any, NamedTuple

import numpy as np

FORMS = {"u": 1, "i": 2, "f": 3}
LONGS = {256, 257, 273, 278, 279, 322, 323, 324, 325}  # tags of 32 bits; the others have 16


class Kind(NamedTuple):
    """How the samples lie in the file."""

    order: str = "<"
    planar: bool = False
    tile: tuple[int, int] | None = None  # height, width
    deflate: bool = False
    predictor: int = 1
    bits: int | None = None  # of samples that are packed; else those of their type
    lowest_first: bool = False  # FillOrder 2


def tiff(samples: np.ndarray, photometric: int, kind: Kind = Kind(), **tags: Any) -> bytes:  # noqa: B008
    """Samples (H, W, C) as a file. `tags`: further ones, such as t338=[2]; None leaves one out."""
    height, width, count = samples.shape
    planes = [samples[:, :, number : number + 1] for number in range(count)] if kind.planar else [samples]
    chunks = [_packed(chunk, kind) for plane in planes for chunk in _chunks(plane, kind)]
    at, offsets = 8, []
    for chunk in chunks:
        offsets.append(at)
        at += len(chunk)
    size = kind.bits or samples.dtype.itemsize * 8
    numbers = {
        256: [width], 257: [height], 258: [size] * count, 259: [8 if kind.deflate else 1], 262: [photometric],
        266: [1 + kind.lowest_first], 277: [count], 284: [2 if kind.planar else 1], 317: [kind.predictor],
        339: [FORMS[samples.dtype.kind]] * count, 278: [_rows(height)],
        273: offsets, 279: [len(chunk) for chunk in chunks],
    }  # fmt: skip
    if kind.tile:
        numbers[324], numbers[325] = numbers.pop(273), numbers.pop(279)
        numbers[323], numbers[322] = [kind.tile[0]], [kind.tile[1]]
    numbers |= {int(name[1:]): values for name, values in tags.items()}
    numbers = {tag: values for tag, values in numbers.items() if values is not None}
    mark = {"<": b"II*\0", ">": b"MM\0*"}[kind.order]
    return mark + struct.pack(f"{kind.order}I", at) + b"".join(chunks) + _directory(numbers, at, kind.order)


def _directory(numbers: dict[int, list[int]], at: int, order: str) -> bytes:
    lines, beyond = b"", b""
    beyond_at = at + 2 + 12 * len(numbers) + 4
    for tag, values in sorted(numbers.items()):
        letter, kind = ("I", 4) if tag in LONGS else ("H", 3)
        data = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(data) > 4:
            data, beyond = struct.pack(f"{order}I", beyond_at + len(beyond)), beyond + data
        lines += struct.pack(f"{order}HHI", tag, kind, len(values)) + data.ljust(4, b"\0")
    return struct.pack(f"{order}H", len(numbers)) + lines + bytes(4) + beyond


def _rows(height: int) -> int:
    """Of a strip: so many that the last one has fewer."""
    return height // 2 - 1 if height > 5 else height


def _chunks(plane: np.ndarray, kind: Kind) -> list[np.ndarray]:
    height, width = plane.shape[:2]
    if not kind.tile:
        return [plane[top : top + _rows(height)] for top in range(0, height, _rows(height))]
    down, across = kind.tile
    whole = np.pad(plane, ((0, -height % down), (0, -width % across), (0, 0)))
    return [
        whole[top : top + down, left : left + across]
        for top in range(0, height, down)
        for left in range(0, width, across)
    ]


def _packed(chunk: np.ndarray, kind: Kind) -> bytes:
    if kind.bits:
        ones = (chunk[..., None].astype(np.int64) >> np.arange(kind.bits - 1, -1, -1)) & 1
        data = np.packbits(ones.astype(np.uint8).reshape(len(chunk), -1), axis=1).tobytes()
    elif kind.predictor == 3:
        data = b"".join(_float_differences(row) for row in chunk)
    else:
        if kind.predictor == 2:
            whole = chunk.view(f"u{chunk.dtype.itemsize}")
            chunk = np.concatenate([whole[:, :1], np.diff(whole, axis=1)], axis=1)
        data = chunk.astype(chunk.dtype.newbyteorder(kind.order)).tobytes()
    if kind.lowest_first:
        bits = np.unpackbits(np.frombuffer(data, np.uint8))
        data = np.packbits(bits.reshape(-1, 8)[:, ::-1]).tobytes()
    return zlib.compress(data) if kind.deflate else data


def _float_differences(row: np.ndarray) -> bytes:
    """All first bytes of the floats of a row, all second ones, and so on, as differences (Adobe's Technical Note 3)."""
    size, step = row.dtype.itemsize, row.shape[1]
    sorted_by_place = row.astype(row.dtype.newbyteorder(">")).view(np.uint8).reshape(-1, size).T.reshape(-1, step)
    return np.concatenate([sorted_by_place[:1], np.diff(sorted_by_place, axis=0)]).astype(np.uint8).tobytes()

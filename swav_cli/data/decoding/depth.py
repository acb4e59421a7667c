"""Samples of any type as 8 bits. What is black and what is white is told by the type, and never by single pixels.

A picture that is scaled by its own darkest and brightest pixel is as bright as one odd pixel lets it be, and pictures
of one data set are no longer alike. So black is 0, or a signed type's least; and white is

- of bits, and of unsigned integers of 8 and 16 bits, in TIFFs of any number of bits: the most that the type holds
- of signed integers in TIFFs: the same; of more than 16 bits 65,535, as Pillow writes 16 bits
- of floats, and of arrays of other integers, which say nothing of their depth: 1 (floats), 255 or 65,535, whichever is
  the least that 99 of 100 values keep to

Single values beyond are cut off. A picture of which more than one value of 100 lies beyond is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from swav_cli.data.decoding.formats import BadPicture

BEYOND = 0.01  # this share of a picture's values may lie beyond black and white, as resizing makes them
WHITES = (1, 255, 65535)


def array_in_eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """An array of a .npy file, or what Pillow makes of deep pictures.

    Raises:
        BadPicture: values that are no brightness by the rules above.
    """
    kind = pixels.dtype.kind
    if kind == "b":
        return np.where(pixels, 255, 0).astype(np.uint8)
    if kind == "u" and pixels.dtype.itemsize <= 2:
        return _scaled(pixels, 0, np.iinfo(pixels.dtype).max)
    return _by_values(pixels, WHITES if kind == "f" else WHITES[1:])


def samples_in_eight_bits(samples: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Samples of a TIFF, which says how many bits each of them has.

    Raises:
        BadPicture: values that are no brightness by the rules above.
    """
    if samples.dtype.kind == "f":
        return _by_values(samples, WHITES)
    if samples.dtype.kind == "u":
        return _scaled(samples, 0, 2**bits - 1)
    if bits <= 16:
        return _scaled(samples, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return _by_values(samples, WHITES[2:])


def _scaled(values: NDArray[Any], black: int, white: int) -> NDArray[np.uint8]:
    """From black (0) to white (255), and what lies beyond them the same."""
    if values.dtype == np.uint8 and white == 255:
        return values
    if white - black < 65536 and values.dtype.kind in "ui":  # a table is quicker than arithmetic, and takes less memory
        table = np.rint(np.arange(white - black + 1) * (255 / (white - black))).astype(np.uint8)
        within = np.clip(values, black, white)
        shown: NDArray[np.uint8] = table[within if black == 0 else within.astype(np.int32) - black]
        return shown
    return np.rint((values.astype(np.float64) - black) * (255 / (white - black))).clip(0, 255).astype(np.uint8)


def _by_values(values: NDArray[Any], whites: tuple[int, ...]) -> NDArray[np.uint8]:
    if not np.isfinite(values).all():
        raise BadPicture("holds values that are not finite")
    if _share(values < 0) <= BEYOND:
        for white in whites:
            if _share(values > white) <= BEYOND:
                return _scaled(values, 0, white)
    listed = f"0 to {' or '.join(map(str, whites))}"
    raise BadPicture(
        f"holds values from {values.min():g} to {values.max():g}; {values.dtype} is read as {listed}: save it as uint8 "
        "or uint16, all pictures scaled alike"
    )


def _share(beyond: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(beyond)) / max(beyond.size, 1)

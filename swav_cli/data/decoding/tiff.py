"""TIFFs whose samples are no unsigned bytes, or which have another number of them than colours have.

Pillow hands such pictures over as they lie in the file, mixes their planes up, or does not open them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from swav_cli.data.decoding.depth import samples_in_eight_bits
from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.decoding.tiff_chunks import read_plane
from swav_cli.data.decoding.tiff_tags import (
    ALPHA,
    COLOR_MAP,
    COLOURS,
    PREMULTIPLIED,
    RGB,
    WHITE_IS_ZERO,
    Layout,
    why_unread,
)


def read_samples(content: bytes, layout: Layout) -> NDArray[np.uint8]:  # (H, W, samples)
    """All samples as 8 bits, with 0 for black.

    Raises:
        BadPicture: of a kind that is not read, cut off, or of numbers that are no brightness.
    """
    reason = why_unread(layout)
    if reason:
        raise BadPicture(reason)
    planes = [read_plane(content, layout, number) for number in range(layout.planes)]
    samples = samples_in_eight_bits(planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2), layout.bits)
    if layout.photometric == WHITE_IS_ZERO:
        samples = np.concatenate([255 - samples[:, :, :1], samples[:, :, 1:]], axis=2)
    return samples


def with_palette(picture: Image.Image) -> Image.Image:
    """A picture that Pillow has opened, its palette as libtiff takes it: of 8 bits where no entry has more.

    Entries are of 16 bits (TIFF 6.0, section 5), but some programs write 8; Pillow takes the upper half of any.
    """
    entries = picture.tag_v2.get(COLOR_MAP) if isinstance(picture, TiffImageFile) else None
    if picture.mode in ("P", "PA") and entries and max(entries) < 256:
        picture.putpalette(bytes(entries), "RGB;L")  # all of red, then of green, then of blue
    return picture


def as_colours(samples: NDArray[np.uint8], layout: Layout) -> Image.Image | None:
    """Gray, RGB or CMYK of such samples, with their transparency; None where they are many channels and no colours."""
    beyond = layout.samples - layout.colours
    if layout.photometric not in COLOURS or beyond < 0 or (layout.colours == 1 and beyond > 1):
        return None
    # As for 8 bits, a fourth sample of RGB that is not explained is taken for transparency.
    meaning = layout.extra[0] if layout.extra else ALPHA if layout.photometric == RGB and beyond else 0
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[layout.colours]
    if beyond and mode != "CMYK" and meaning in (PREMULTIPLIED, ALPHA):
        whole, premultiplied = {"L": ("LA", "La"), "RGB": ("RGBA", "RGBa")}[mode]
        mode = premultiplied if meaning == PREMULTIPLIED else whole
    kept = np.ascontiguousarray(samples[:, :, : Image.getmodebands(mode)])
    picture = Image.frombytes(mode, (layout.width, layout.height), kept.tobytes())
    return picture.convert({"La": "LA", "RGBa": "RGBA"}.get(mode, mode))

"""What the tags of a TIFF say, and which TIFFs are read by whom (TIFF 6.0, 1992, and libtiff's additions)."""

from __future__ import annotations

import io
from typing import NamedTuple

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.decoding.orientation import ORIENTATION

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK = 0, 1, 2, 3, 5  # PhotometricInterpretation
UNSIGNED, SIGNED, FLOAT, UNDEFINED = 1, 2, 3, 4  # SampleFormat
PREMULTIPLIED, ALPHA = 1, 2  # ExtraSamples
COLOR_MAP = 320  # the tag of a palette
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, CMYK: 4}  # samples that are colours
DERIVED = {PALETTE: "a palette", 6: "YCbCr", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*"}
RAW = {32803: "a camera's raw sensor", 34892: "a camera's linear raw", 32844: "LogL", 32845: "LogLuv"}
# Compressions that give back the bytes, whatever they mean; those that Pillow knows beside them; others.
LOSSLESS = {1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 32773: "PackBits", 34925: "LZMA", 50000: "zstd"}
PILLOWS = {2: "CCITT", 3: "CCITT", 4: "CCITT", 6: "old JPEG", 7: "JPEG", 32771: "CCITT", 32809: "ThunderScan",
           34676: "SGILog", 34677: "SGILog", 50001: "WebP"}  # fmt: skip
UNREAD = {34712: "JPEG 2000", 33003: "JPEG 2000", 33005: "JPEG 2000", 34887: "LERC", 34892: "JPEG", 50002: "JPEG XL",
          52546: "JPEG XL"}  # fmt: skip


class Layout(NamedTuple):
    """What the tags of a TIFF's first picture say."""

    width: int
    height: int
    bits: int  # of a sample
    form: int  # SampleFormat
    samples: int  # of a pixel
    photometric: int
    extra: tuple[int, ...]  # what the samples beyond the colours are
    planes: int  # 1 where all samples of a pixel lie together, else as many as samples
    compression: int
    predictor: int
    fill_order: int
    little_endian: bool
    chunk: tuple[int, int]  # width and height of a tile; of a strip, which is as wide as the picture
    tiled: bool
    offsets: tuple[int, ...]  # of all chunks, in rows, plane by plane
    counts: tuple[int, ...]  # bytes of each, packed; those of unpacked ones are computed
    orientation: int

    @property
    def colours(self) -> int:
        return COLOURS.get(self.photometric, 3)

    @property
    def bytes(self) -> int:
        """Of all samples, unpacked."""
        return self.width * self.height * self.samples * self.bits // 8

    @property
    def is_plain(self) -> bool:
        """Its samples are the colours themselves, and its bytes can be had."""
        return self.photometric in COLOURS and self.compression in LOSSLESS

    @property
    def is_ordinary(self) -> bool:
        """Pillow reads it rightly, or says why it doesn't."""
        if self.bits not in (1, 2, 4, 8) or self.form not in (UNSIGNED, UNDEFINED):
            return False
        return not self.is_plain or (self.planes == self.fill_order == 1 and self.samples == self.colours)


def layout_of(content: bytes) -> Layout:
    """The tags of the first picture.

    Raises:
        Exception: of any kind, where they are damaged.
    """
    if content.startswith(b"MM\0+"):
        raise BadPicture("a BigTIFF in big-endian order, which is not read; save it as little-endian")
    stream = io.BytesIO(content)
    tags = ImageFileDirectory_v2(content[: 16 if content[2] == 43 else 8])
    stream.seek(tags.next)
    tags.load(stream)

    def numbers(tag: int, default: tuple[int, ...]) -> tuple[int, ...]:
        found = tags.get(tag, default)
        return tuple(int(each) for each in (found if isinstance(found, tuple) else (found,)))

    def number(tag: int, default: int) -> int:
        return numbers(tag, (default,))[0]

    bits = numbers(258, (1,))
    width, height, samples = number(256, 0), number(257, 0), number(277, len(bits))
    bits, forms = bits[:samples], numbers(339, (UNSIGNED,))[:samples]
    tiled = 324 in tags
    chunk = (number(322, 0), number(323, 0)) if tiled else (width, min(number(278, height), height))
    if min(width, height, samples) < 1:
        raise BadPicture("a damaged TIFF: it has no size")
    if min(chunk) < 1:
        raise BadPicture("a damaged TIFF: its strips or tiles have no size")
    if len({*bits}) != 1 or len({*forms}) != 1:
        raise BadPicture(f"a TIFF whose samples differ in kind ({', '.join(map(str, bits))} bits)")
    return Layout(
        width, height, bits[0], forms[0], samples, number(262, 0), numbers(338, ()),
        planes=samples if number(284, 1) == 2 else 1,
        compression=number(259, 1), predictor=number(317, 1), fill_order=number(266, 1),
        little_endian=content[:1] == b"I",
        chunk=chunk,
        tiled=tiled,
        offsets=numbers(324 if tiled else 273, ()), counts=numbers(325 if tiled else 279, ()),
        orientation=number(ORIENTATION, 1),
    )  # fmt: skip


def why_unread(layout: Layout) -> str | None:
    """What of a TIFF is beyond Pillow and this module, and what to do; None if nothing is."""
    told = f"a TIFF of {layout.bits} bits a sample"
    names = {**LOSSLESS, **PILLOWS, **UNREAD}
    method = names.get(layout.compression, f"method {layout.compression}")
    if layout.form not in (UNSIGNED, SIGNED, FLOAT, UNDEFINED):
        return "a TIFF of complex numbers, which is not read; a picture holds one number a sample"
    if layout.photometric in (RAW if layout.bits <= 8 else {**RAW, **DERIVED}):
        colours = {**RAW, **DERIVED}[layout.photometric]
        return f"{told} in {colours}, which is not read; save it as plain RGB or gray"
    if layout.compression not in LOSSLESS and (not layout.is_ordinary or layout.compression not in PILLOWS):
        return f"{told}, compressed by {method}, which is not read; save it compressed by deflate or LZW"
    if layout.is_ordinary:
        return None
    if layout.samples < layout.colours:
        return f"a damaged TIFF: {layout.samples} samples a pixel are too few for its colours"
    whole = (16, 32, 64) if layout.form == FLOAT else (8, 16, 32, 64)
    packed = layout.form in (UNSIGNED, UNDEFINED) and layout.bits <= 16 and layout.predictor == 1
    if layout.bits not in whole and not packed:
        return f"{told}, which is not read; save it with 8 or 16 bits"
    if layout.predictor not in (1, 2, 3) or (layout.predictor == 3 and layout.form != FLOAT):
        return f"{told} with predictor {layout.predictor}, which is not read; save it without"
    return None

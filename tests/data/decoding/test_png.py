"""PNGs with faults beside their pixels are read as browsers read them; one transparent colour is found at any depth."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.decoding.images import decode_picture

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (30, 40, 3), dtype=np.uint8)


def chunk(name: bytes, data: bytes, wrong: bool = False) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data) ^ wrong)


def png(rows: bytes, size: tuple[int, int], depth: int, kind: int, *before: bytes, after: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + pixels + after + chunk(b"IEND", b"")


def photo(*before: bytes, after: bytes = b"") -> bytes:
    return png(b"".join(b"\0" + row.tobytes() for row in PHOTO), (40, 30), 8, 2, *before, after=after)


def pixels(content: bytes, channels: int = 3) -> np.ndarray:
    return decode_picture(content, channels).permute(1, 2, 0).numpy()


LONG = zlib.compress(bytes(3_000_000))
MANY = 200  # texts that together pass what Pillow allows
BESIDE = {
    "a long zTXt": chunk(b"zTXt", b"Comment\0\0" + LONG),
    "a long iTXt": chunk(b"iTXt", b"Comment\0\1\0\0\0" + LONG),
    "a long profile": chunk(b"iCCP", b"press\0\0" + LONG),
    "many texts": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1_000_000))) * MANY,
    "a text packed by another method": chunk(b"zTXt", b"Comment\0\7" + LONG),
    "a profile packed by another method": chunk(b"iCCP", b"press\0\7" + LONG),
    "a short pHYs": chunk(b"pHYs", b"\0"),
    "a short gAMA": chunk(b"gAMA", b"\0"),
    "a short cHRM": chunk(b"cHRM", b"\0"),
    "a short tRNS": chunk(b"tRNS", b"\0"),
    "a long tRNS": chunk(b"tRNS", bytes(999)) + chunk(b"pHYs", b"\0"),
    "a short acTL": chunk(b"acTL", b"\0"),
    "a tRNS with a wrong sum": chunk(b"tRNS", struct.pack(">HHH", *PHOTO[3, 4].tolist()), wrong=True),
    **{f"{data[:4].decode()} with a wrong sum": chunk(data[:4], data[4:], wrong=True) for data in (
        b"pHYs" + struct.pack(">IIB", 2835, 2835, 1), b"tEXtComment\0x", b"iCCPpress\0\0" + zlib.compress(b"y"),
        b"zTXtComment\0\0" + zlib.compress(b"y"), b"iTXtComment\0\0\0\0\0y", b"gAMA" + bytes(4), b"tIME" + bytes(7),
        b"eXIfMM\0*\0\0\0\x08\0\0", b"sRGB\0", b"bKGD" + bytes(6), b"prVtanything",
    )},
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE)
def test_faults_before_the_pixels(name: str) -> None:
    assert (pixels(photo(BESIDE[name])) == PHOTO).all()


@pytest.mark.parametrize("name", [name for name in BESIDE if "tRNS" not in name])
def test_faults_behind_the_pixels(name: str) -> None:
    assert (pixels(photo(after=BESIDE[name])) == PHOTO).all()


def test_the_limits_are_what_pillow_allows() -> None:
    """So that the long texts above are long enough."""
    assert len(zlib.decompress(LONG)) > PngImagePlugin.MAX_TEXT_CHUNK
    assert MANY * 1_000_000 > PngImagePlugin.MAX_TEXT_MEMORY


def test_what_the_pixels_depend_on_stays() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    hole = struct.pack(">HHH", *PHOTO[3, 4].tolist())
    content = photo(chunk(b"tRNS", hole), chunk(b"eXIf", exif.tobytes()[6:]), BESIDE["a long zTXt"])
    shown = PHOTO.copy()
    shown[3, 4] = 255
    assert (pixels(content) == np.rot90(shown, -1)).all()


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE"])
def test_a_wrong_sum_of_a_critical_chunk_is_an_error(name: bytes) -> None:
    content = photo(chunk(b"PLTE", bytes(6)))
    at = content.index(name)
    end = at + 4 + struct.unpack(">I", content[at - 4 : at])[0]
    wrong = content[:end] + bytes([content[end] ^ 1]) + content[end + 1 :]
    with pytest.raises(BadPicture, match=rf"^a PNG that can't be read: .*{name.decode()}"):
        decode_picture(wrong)


def test_faults_of_both_kinds() -> None:
    with pytest.raises(BadPicture, match="truncated"):
        decode_picture(photo(BESIDE["a long zTXt"])[:-900])
    with pytest.raises(BadPicture, match="too many pixels"):
        decode_picture(png(b"", (100_000, 100_000), 8, 2, BESIDE["a long zTXt"]))


def packed(levels: np.ndarray, bits: int) -> bytes:
    ones = (levels[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return b"".join(b"\0" + np.packbits(row.astype(np.uint8).ravel()).tobytes() for row in ones)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_gray(bits: int, channels: int) -> None:
    levels = RNG.integers(0, 2**bits, (9, 13))
    for hole in {0, 1, 2**bits - 1, int(levels[2, 3])}:
        content = png(packed(levels, bits), (13, 9), bits, 0, chunk(b"tRNS", struct.pack(">H", hole)))
        shown = np.where(levels == hole, 255, np.rint(levels * (255 / (2**bits - 1))))
        assert (pixels(content, channels) == shown[:, :, None]).all()


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_transparent_colour_of_16_bits(orientation: int) -> None:
    """Its neighbours, of which 8 bits would make the same colour, are none."""
    levels = RNG.integers(0, 65536, (9, 13, 3))
    levels[2, 3], levels[2, 4], levels[2, 5] = (1000, 2000, 3000), (1001, 2000, 3000), (1000, 2000, 3001)
    exif = Image.Exif()
    exif[0x0112] = orientation
    hole = chunk(b"tRNS", struct.pack(">HHH", 1000, 2000, 3000))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    content = png(rows, (13, 9), 16, 2, hole, chunk(b"eXIf", exif.tobytes()[6:]))
    shown = levels / 257
    shown[2, 3] = 255
    assert np.abs(pixels(content) - np.rot90(shown, -(orientation == 6))).max() <= 1


def test_all_transparent_is_white() -> None:
    stream = io.BytesIO()
    Image.fromarray(np.dstack([PHOTO, np.zeros((30, 40, 1), np.uint8)])).save(stream, "PNG")
    assert (pixels(stream.getvalue()) == 255).all()

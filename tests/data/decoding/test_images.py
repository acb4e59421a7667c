"""Any picture file as uint8: against Pillow, and against the pixels that were put in."""

from __future__ import annotations

import errno
import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps, features

from swav_cli.data.decoding.formats import SUFFIXES, BadPicture
from swav_cli.data.decoding.images import decode_picture, read_picture
from swav_cli.data.decoding.jpeg import decode_plain

RNG = np.random.default_rng(0)
PHOTO = Image.fromarray(RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize((60, 40), Image.Resampling.BICUBIC)
WITH_AVIF = "avif" in features.modules and features.check("avif")
DEEP = RNG.integers(0, 65536, (12, 18))
DEEP[0, :2] = 0, 65535


def encode(picture: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def png(pixels: np.ndarray, colour_type: int, size: tuple[int, int] | None = None) -> bytes:
    """A PNG of 16 bits a channel, which Pillow can't write; `size` to lie about its size."""
    height, width = size or pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def pixels(content: bytes, channels: int = 3) -> np.ndarray:
    """(H, W, C), or (H, W) for one channel, as numbers that can be subtracted."""
    decoded = decode_picture(content, channels)
    assert decoded.dtype == torch.uint8
    assert decoded.shape[0] == channels
    found = decoded.permute(1, 2, 0).numpy().astype(int)
    return found[:, :, 0] if channels == 1 else found


def expected(picture: Image.Image, mode: str = "RGB") -> np.ndarray:
    return np.asarray(picture.convert(mode)).astype(int)


KINDS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".gif": "GIF", ".tif": "TIFF",
    ".tiff": "TIFF", ".ppm": "PPM", ".pgm": "PPM", ".pbm": "PPM", ".pnm": "PPM", ".jpe": "JPEG", ".jfif": "JPEG",
    ".mpo": "MPO", ".dib": "BMP", ".avif": "AVIF",
}  # fmt: skip


@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_kind_of_file(suffix: str, case: Any, tmp_path: Path) -> None:
    if suffix == ".avif" and not WITH_AVIF:
        pytest.skip("this Pillow has no AVIF")
    path = tmp_path / ("picture" + case(suffix))
    picture = PHOTO.convert({".pgm": "L", ".pbm": "1"}.get(suffix, "RGB"))
    path.write_bytes(npy(np.asarray(PHOTO)) if suffix == ".npy" else encode(picture, KINDS[suffix]))
    decoded = read_picture(path).permute(1, 2, 0).numpy()
    assert np.abs(decoded.astype(int) - expected(picture)).mean() < 12  # GIF has few colours
    if suffix in (".png", ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".npy"):
        assert (decoded == expected(picture)).all()


def test_the_content_and_not_the_suffix_tells_the_kind(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encode(PHOTO, "PNG"))
    assert (read_picture(tmp_path / "a.jpg").permute(1, 2, 0).numpy() == expected(PHOTO)).all()


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"keep_rgb": True},
     {"quality": 100}, {"quality": 5}, {"comment": b"x" * 5000}],
)  # fmt: skip
def test_jpeg_as_pillow_decodes_it(options: dict[str, Any]) -> None:
    content = encode(PHOTO, "JPEG", **options)
    assert np.abs(pixels(content) - expected(Image.open(io.BytesIO(content)))).max() <= 1
    assert np.abs(pixels(content, 1) - expected(Image.open(io.BytesIO(content)), "L")).mean() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "CMYK"])
def test_turned_upright(kind: str, orientation: int) -> None:
    """Plain JPEGs are read by torchcodec, the others by Pillow."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = PHOTO.convert("CMYK") if kind == "CMYK" else PHOTO
    content = encode(picture, "JPEG" if kind == "CMYK" else kind, exif=exif.tobytes(), **options)
    assert (content[:2] == b"\xff\xd8" and decode_plain(content, 3, 9999) is not None) == (kind == "JPEG")
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert upright.size == ((60, 40) if orientation < 5 else (40, 60))
    assert np.abs(pixels(content) - expected(upright)).max() <= 1
    assert pixels(content, 1).shape == (upright.height, upright.width)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # as the file is written
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_damaged_exif_leaves_the_pixels(kind: str) -> None:
    content = encode(PHOTO, kind, exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff\x12")
    assert pixels(content).shape == (40, 60, 3)


def test_damaged_exif_of_which_pillow_complains(monkeypatch: pytest.MonkeyPatch) -> None:
    def complain(_: Image.Image) -> Image.Image:
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(ImageOps, "exif_transpose", complain)
    assert (pixels(encode(PHOTO, "PNG")) == expected(PHOTO)).all()


def test_palette() -> None:
    picture = PHOTO.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    assert (pixels(encode(picture, "PNG")) == expected(picture)).all()
    assert (pixels(encode(picture, "PNG"), 1) == expected(picture.convert("RGB"), "L")).all()


@pytest.mark.parametrize("transparent", [0, bytes([0] * 8 + [128] * 8)])
def test_palette_with_transparency_over_white(transparent: int | bytes) -> None:
    picture = PHOTO.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    content = encode(picture, "PNG", transparency=transparent)
    index = np.asarray(picture)
    found, opaque = pixels(content), expected(picture)
    alpha = np.array([*transparent, *[255] * 256] if isinstance(transparent, bytes) else [0] + [255] * 255)[index]
    blended = 255 + (opaque - 255) * alpha[:, :, None] / 255
    assert np.abs(found - blended).max() <= 1
    assert (index == 0).any()
    assert (found[index == 0] == 255).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_over_white(mode: str, kind: str, channels: int) -> None:
    if (mode, kind) == ("LA", "WEBP"):
        pytest.skip("WebP has no gray")
    alpha = Image.fromarray(RNG.integers(0, 256, (40, 60), dtype=np.uint8))
    picture = PHOTO.convert(mode)
    picture.putalpha(alpha)
    content = encode(picture, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    opaque = expected(PHOTO, "RGB" if mode == "RGBA" else "L")
    if mode == "LA":
        opaque = np.repeat(opaque[:, :, None], 3, axis=2)
    blended = 255 + (opaque - 255) * (np.asarray(alpha)[:, :, None] / 255)
    if channels == 1:
        blended = blended @ np.array([0.299, 0.587, 0.114])
    assert np.abs(pixels(content, channels) - blended).max() <= 1.5


def test_cmyk_jpeg() -> None:
    content = encode(PHOTO.convert("CMYK"), "JPEG", quality=95)
    assert np.abs(pixels(content) - expected(PHOTO)).mean() < 3  # and not its negative


@pytest.mark.parametrize("mode", ["YCbCr", "LAB", "L", "1", "CMYK"])
def test_other_colour_spaces_of_tiff(mode: str) -> None:
    picture = Image.frombytes("LAB", PHOTO.size, PHOTO.tobytes()) if mode == "LAB" else PHOTO.convert(mode)
    content = encode(picture, "TIFF")
    try:
        Image.open(io.BytesIO(content)).load()
    except OSError:
        pytest.skip("this Pillow can't read what it wrote itself, as 12.3 with YCbCr")
    assert pixels(content).shape == (40, 60, 3)


def deep_files() -> dict[str, bytes]:
    pgm = b"P5 18 12 65535\n" + DEEP.astype(">u2").tobytes()
    little, big = DEEP.astype("<u2"), DEEP.astype(">u2")
    return {
        "gray PNG": png(DEEP, 0),
        "PGM": pgm,
        "TIFF": encode(Image.fromarray(little), "TIFF"),
        "big-endian TIFF": encode(Image.frombytes("I;16B", (18, 12), big.tobytes()), "TIFF"),
        "32-bit TIFF": encode(Image.fromarray(DEEP.astype(np.int32)), "TIFF"),
        "float TIFF": encode(Image.fromarray((DEEP / 65535).astype(np.float32)), "TIFF"),
        "npy": npy(little),
        "big-endian npy": npy(big),
        "npy of longer integers": npy(DEEP),
        "npy of floats": npy(DEEP / 65535),
    }


@pytest.mark.parametrize("name", deep_files())
def test_sixteen_bits_are_scaled_and_not_clipped(name: str) -> None:
    content = deep_files()[name]
    assert np.abs(pixels(content, 1) - np.rint(DEEP * (255 / 65535))).max() <= 1
    colour = pixels(content)
    assert (colour == pixels(content, 1)[:, :, None]).all()


@pytest.mark.parametrize("kind", ["PNG", "PGM", "TIFF", "npy"])
def test_a_dark_picture_of_sixteen_bits_stays_dark(kind: str) -> None:
    dark = (DEEP % 200).astype(np.uint16)
    content = {
        "PNG": png(dark, 0), "PGM": b"P5 18 12 65535\n" + dark.astype(">u2").tobytes(),
        "TIFF": encode(Image.fromarray(dark), "TIFF"), "npy": npy(dark),
    }[kind]  # fmt: skip
    assert pixels(content, 1).max() == 1


def test_colour_of_sixteen_bits_is_scaled() -> None:
    colour = RNG.integers(0, 65536, (9, 11, 3))
    assert np.abs(pixels(png(colour, 2)) - colour * (255 / 65535)).max() <= 1
    layered = RNG.integers(0, 65536, (9, 11, 4))
    blended = 255 + (layered[:, :, :3] / 257 - 255) * (layered[:, :, 3:] / 65535)
    assert np.abs(pixels(png(layered, 6)) - blended).max() <= 2


def test_turned_sixteen_bits() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(Image.fromarray(DEEP.astype(np.uint16)), "PNG", exif=exif.tobytes())
    assert (pixels(content, 1) == np.rint(np.rot90(DEEP, -1) * (255 / 65535))).all()


def test_one_bit() -> None:
    bits = RNG.random((8, 9)) < 0.5
    for kind in ("PNG", "TIFF", "BMP"):
        assert (pixels(encode(Image.fromarray(bits), kind), 1) == 255 * bits).all()
    assert (pixels(npy(bits), 1) == 255 * bits).all()


def bitmap(pixels: np.ndarray, header: int, masks: tuple[int, ...], direction: int = 1) -> bytes:
    """A BMP of 32 bits a pixel with masks; headers of 56, 108 and 124 bytes are those of versions 3, 4 and 5."""
    height, width = pixels.shape[:2]
    data = pixels[::-direction].tobytes()
    info = struct.pack("<IiiHHIIiiII", header, width, direction * height, 1, 32, 3, len(data), 2835, 2835, 0, 0)
    info = (info + struct.pack("<4I", *masks)).ljust(header, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(data), 0, 0, 14 + len(info)) + info + data


@pytest.mark.parametrize("header", [56, 108, 124])
@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("order", [(2, 1, 0, 3), (0, 1, 2, 3)])
def test_alpha_that_is_zero_everywhere_in_a_bmp(header: int, direction: int, order: tuple[int, ...]) -> None:
    """Nobody has filled it, as browsers and Windows take it; one pixel that is not zero makes it count."""
    masks = tuple(0xFF << 8 * order.index(channel) for channel in range(4))
    layers = np.dstack([np.asarray(PHOTO), np.zeros((40, 60), np.uint8)])
    content = bitmap(layers[:, :, order], header, masks, direction)
    try:
        Image.open(io.BytesIO(content))
    except OSError:
        pytest.skip(f"this Pillow reads no header of {header} bytes")
    assert (pixels(content) == expected(PHOTO)).all()
    assert (pixels(content, 1) == expected(PHOTO, "L")).all()
    assert (pixels(content, 4) == layers).all()
    layers[3, 4, 3] = 255
    over_white = np.full((40, 60, 3), 255)
    over_white[3, 4] = layers[3, 4, :3]
    assert (pixels(bitmap(layers[:, :, order], header, masks, direction)) == over_white).all()


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})])
def test_the_first_frame_of_an_animation(kind: str, options: dict[str, Any]) -> None:
    frames = [Image.new("RGB", (6, 5), colour) for colour in ("red", "lime", "blue")]
    content = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (pixels(content) == [255, 0, 0]).all()


def test_the_first_picture_of_a_phones_mpo() -> None:
    content = encode(PHOTO, "MPO", save_all=True, append_images=[ImageOps.invert(PHOTO)], quality=95)
    assert np.abs(pixels(content) - expected(PHOTO)).mean() < 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF"])
def test_gray_to_three_channels_and_colour_to_one(kind: str) -> None:
    gray = encode(PHOTO.convert("L"), kind)
    assert (pixels(gray) == pixels(gray, 1)[:, :, None]).all()
    colour = encode(PHOTO, kind)
    assert np.abs(pixels(colour, 1) - expected(PHOTO, "L")).mean() < 3


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("channels", [2, 4, 5, 12])
def test_many_channels(channels: int, order: str) -> None:
    values = RNG.integers(0, 256, (6, 7, channels), dtype=np.uint8)
    content = npy(np.asarray(values, order=order))  # type: ignore[call-overload]
    decoded = decode_picture(content, channels)
    assert (decoded.permute(1, 2, 0).numpy() == values).all()
    assert decoded.stride() == (1, 7 * channels, channels)
    with pytest.raises(BadPicture, match=rf"{channels} channels; the recipe's data.channels is 3"):
        decode_picture(content, 3)


def test_a_picture_of_four_channels_keeps_them() -> None:
    values = RNG.integers(0, 256, (6, 7, 4), dtype=np.uint8)
    assert (decode_picture(encode(Image.fromarray(values), "PNG"), 4).permute(1, 2, 0).numpy() == values).all()


def damaged_files() -> dict[str, tuple[bytes, str]]:
    jpeg, whole_png = encode(PHOTO.resize((300, 200)), "JPEG"), encode(PHOTO, "PNG")
    array = npy(np.zeros((4, 5, 3), np.uint8))
    boastful = array.replace(b"(4, 5, 3), }      ", b"(900000,900000,3)}")
    assert len(boastful) == len(array)
    assert boastful != array
    no_height = bytearray(jpeg)
    start = jpeg.index(b"\xff\xc0") + 5
    no_height[start : start + 2] = b"\0\0"
    return {
        "empty": (b"", "the file is empty"),
        "text": (b"hello, I am no picture\n", "not a picture"),
        "web page": (b"\n<!DOCTYPE html>\n<html><body>404</body></html>", "a web page, not a picture"),
        "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        "noise": (bytes(RNG.integers(0, 256, 2000, dtype=np.uint8)), "."),
        "JPEG header alone": (jpeg[:100], "."),
        "half a JPEG": (jpeg[: len(jpeg) // 2], "truncated"),
        "JPEG without height": (bytes(no_height), "."),
        "half a PNG": (whole_png[: len(whole_png) // 2], "truncated"),
        "two bytes": (b"\xff\xd8", "."),
        "half a GIF": (encode(PHOTO, "GIF")[:300], "."),
        "half a WebP": (encode(PHOTO, "WEBP")[:100], "."),
        "half a BMP": (encode(PHOTO, "BMP")[:500], "."),
        "half a TIFF": (encode(PHOTO, "TIFF")[:500], "."),
        "PNG of 100000 x 100000": (png(DEEP, 0, (100_000, 100_000)), "too many pixels"),
        "PNG of 14000 x 13000": (png(DEEP, 0, (14_000, 13_000)), "too many pixels"),
        "half an array": (array[:-9], "damaged .npy file"),
        "an array's header": (array[:40], "damaged .npy file"),
        "an array's first bytes": (array[:7], "damaged .npy file"),
        "an array larger than its file": (boastful, "damaged .npy file"),
        "an array of objects": (npy(np.array([[None, {}]])), "an array of object; a picture holds numbers"),
        "an array of words": (npy(np.array([["a", "b"]])), "holds numbers"),
        "an array of complex numbers": (npy(np.zeros((3, 3), complex)), "holds numbers"),
        "an array without pixels": (npy(np.zeros((0, 5, 3))), r"shape \(0, 5, 3\)"),
        "a flat array": (npy(np.zeros(5)), r"shape \(5,\)"),
        "an array with NaN": (npy(np.array([[0, np.nan]])), "not finite|1 channels"),
    }


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("name", damaged_files())
def test_damaged_files_say_why(name: str, channels: int) -> None:
    content, reason = damaged_files()[name]
    with pytest.raises(BadPicture, match=reason):
        decode_picture(content, channels)


def test_a_huge_jpeg_is_refused() -> None:
    content = bytearray(encode(PHOTO, "JPEG"))
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = struct.pack(">HH", 65000, 65000)
    with pytest.raises(BadPicture, match="too many pixels"):
        decode_picture(bytes(content))


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(BadPicture, match="No such file"):
        read_picture(tmp_path / "gone.jpg")
    with pytest.raises(BadPicture, match="directory"):
        read_picture(tmp_path)


class Disk:
    """Stands for a disk in `Path.read_bytes`: fails as often as it is told to, and notes the waits in between."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *failures: int) -> None:
        self.failures, self.pauses, self.reads = list(failures), [], 0
        self.read_bytes = Path.read_bytes
        monkeypatch.setattr(Path, "read_bytes", lambda path: self.read(path))
        monkeypatch.setattr("swav_cli.data.decoding.images.time.sleep", self.pauses.append)

    def read(self, path: Path) -> bytes:
        self.reads += 1
        if self.failures:
            number = self.failures.pop(0)
            raise OSError(number, os.strerror(number), str(path))
        return self.read_bytes(path)


@pytest.mark.parametrize("failures", [(errno.EIO,), (errno.ESTALE, errno.ETIMEDOUT), (errno.EIO,) * 3])
def test_a_disk_that_fails_now_and_then(
    failures: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PHOTO.save(tmp_path / "a.png")
    disk = Disk(monkeypatch, *failures)
    assert (read_picture(tmp_path / "a.png").permute(1, 2, 0).numpy() == expected(PHOTO)).all()
    assert disk.reads == len(failures) + 1
    assert disk.pauses == sorted(disk.pauses)
    assert len(disk.pauses) == len(failures)


def test_a_disk_that_goes_on_failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PHOTO.save(tmp_path / "a.png")
    disk = Disk(monkeypatch, *[errno.EIO] * 100)
    with pytest.raises(BadPicture, match=r"^Input/output error$"):
        read_picture(tmp_path / "a.png")
    assert disk.reads == 4
    assert sum(disk.pauses) < 3


@pytest.mark.parametrize(
    ("failure", "said"),
    [(errno.ENOENT, "No such file"), (errno.EACCES, "Permission denied"), (errno.EISDIR, "Is a directory")],
)
def test_what_no_further_try_mends(failure: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, failure)
    with pytest.raises(BadPicture, match=said):
        read_picture(tmp_path / "a.png")
    assert (disk.reads, disk.pauses) == (1, [])


def test_any_layout_is_seen_as_pixels_in_a_row() -> None:
    """Crops are cut faster from it, and the memory may be written to."""
    for content in (encode(PHOTO, "PNG"), encode(PHOTO, "JPEG"), npy(np.asarray(PHOTO))):
        decoded = decode_picture(content)
        assert decoded.stride() == (1, 180, 3)
        decoded[0, 0, 0] = 1

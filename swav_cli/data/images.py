"""Any picture file as uint8 (C, H, W): turned upright, transparent parts on white, deep gray scaled and not clipped."""

from __future__ import annotations

import errno
import io
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from swav_cli.data.formats import format_of
from swav_cli.data.jpeg import decode_plain

MAX_PIXELS = 180_000_000  # beyond that a small file that unpacks to gigabytes is likelier than a photograph
NPY, JPEG = b"\x93NUMPY", b"\xff\xd8"
PAUSES = (0.1, 0.4, 1.6)  # seconds before each further try to read a file of a disk that fails now and then
# What a further try does not mend.
LASTING = frozenset({
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL,
})  # fmt: skip


class BadPicture(Exception):
    """A file that is no readable picture; the message says why."""


def read_picture(path: str | Path, channels: int = 3) -> Tensor:
    """A picture file as uint8 (channels, H, W).

    Raises:
        BadPicture: empty, damaged, no picture, of another number of channels, or not to be read after several tries.
    """
    try:
        content = read_patiently(Path(path).read_bytes)
    except OSError as error:
        raise BadPicture(error.strerror or str(error)) from None
    return decode_picture(content, channels)


def read_patiently(read: Callable[[], bytes]) -> bytes:
    """What `read` returns, which is called again after a pause where a network disk fails for a moment.

    Raises:
        OSError: the last of several, or at once one that says that there is no such file, or no right to it.
    """
    for pause in PAUSES:
        try:
            return read()
        except OSError as error:
            if error.errno in LASTING:
                raise
        time.sleep(pause)
    return read()


def decode_picture(content: bytes, channels: int = 3) -> Tensor:
    """The same from a file's content."""
    if not content:
        raise BadPicture("the file is empty")
    if content.startswith(NPY):
        return _from_array(_load_array(content), channels)
    if channels in (1, 3) and content.startswith(JPEG):
        picture = decode_plain(content, channels, MAX_PIXELS)
        if picture is not None:
            return picture  # Pillow knows more kinds of JPEG, and says what is wrong with a damaged one
    return _via_pillow(content, channels)


def _via_pillow(content: bytes, channels: int) -> Tensor:
    kind = format_of(content)
    if kind is None:
        raise BadPicture(_told(content))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow says of odd but readable files, once a file
            with Image.open(io.BytesIO(content), formats=(kind,)) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                opened.seek(0)  # an animation's first frame
                opened.load()
                return from_pillow(opened, channels)
    except BadPicture:
        raise
    except Image.DecompressionBombError:
        raise BadPicture("too many pixels to be a picture") from None
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        raise BadPicture(str(error) or type(error).__name__) from None


def _told(content: bytes) -> str:
    start = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "a web page, not a picture"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the picture itself; fetch it with `git lfs pull`"
    return "not a picture"


def from_pillow(picture: Image.Image, channels: int = 3) -> Tensor:
    """A picture that Pillow has opened, as uint8 (channels, H, W)."""
    if picture.mode == "I" and picture.format in ("PNG", "PPM"):
        picture = picture.convert("I;16")  # 16 bits a pixel, which some versions of Pillow hold in 32
    return _from_array(_pixels(_upright(picture), channels), channels)


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # damaged EXIF data, of which Pillow says this and that, leave the pixels as they are
        return picture


def _pixels(picture: Image.Image, channels: int) -> NDArray[np.generic]:
    """(H, W) or (H, W, C), of the file's own depth where the mode is gray."""
    if picture.mode == "1":
        picture = picture.convert("L")
    if channels not in (1, 3) or picture.mode.startswith(("I", "F")):
        return np.asarray(picture)
    if "A" in picture.getbands() or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
    return np.asarray(picture.convert("RGB" if channels == 3 else "L"))


def _load_array(content: bytes) -> NDArray[np.generic]:
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[
            version
        ]
        shape, columns_first, kind = read_header(stream)
        # Not np.load: it takes the memory that the header asks for before it looks whether the file holds so much.
        flat = np.frombuffer(content, kind, count=math.prod(shape), offset=stream.tell())
    except (ValueError, KeyError) as error:
        raise BadPicture(f"a damaged .npy file ({error})") from None
    if len(shape) not in (2, 3) or 0 in shape:
        raise BadPicture(f"an array of shape {shape}; a picture is (H, W) or (H, W, C)")
    if kind.kind not in "buif":
        raise BadPicture(f"an array of {kind}; a picture holds numbers")
    return flat.reshape(shape, order="F" if columns_first else "C")


def _from_array(pixels: NDArray[np.generic], channels: int) -> Tensor:
    """(H, W) or (H, W, C) of any depth as uint8 (channels, H, W)."""
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] == 1 and channels == 3:
        pixels = np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] != channels:
        raise BadPicture(f"{pixels.shape[2]} channels; the recipe's data.channels is {channels}")
    # A picture lies in memory pixel by pixel, and is seen as (C, H, W): crops are cut faster so.
    return torch.from_numpy(np.require(_to_eight_bits(pixels), requirements=["C", "W"])).permute(2, 0, 1)


def _to_eight_bits(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Deep pixels scaled to 0..255."""
    if pixels.dtype == np.uint8:
        return pixels  # type: ignore[return-value]
    if pixels.dtype == np.bool_:
        return np.where(pixels, 255, 0).astype(np.uint8)
    values: NDArray[np.float64] = pixels.astype(np.float64)
    if not np.isfinite(values).all():
        raise BadPicture("holds values that are not finite")
    low, high = _range(pixels.dtype, float(values.min()), float(values.max()))
    scaled = np.rint((values - low) * (255 / (high - low))).clip(0, 255)
    return scaled.astype(np.uint8)


def _range(kind: np.dtype[np.generic], lowest: float, highest: float) -> tuple[float, float]:
    """What becomes black and what white: a range that files of this type usually have, else the picture's own."""
    if kind.kind == "u" and kind.itemsize == 2:
        return 0.0, 65535.0
    if lowest >= 0:
        if kind.kind == "f" and highest <= 1:
            return 0.0, 1.0
        if highest <= 255:
            return 0.0, 255.0
        if kind.kind != "f" and highest <= 65535:
            return 0.0, 65535.0  # 16 bits, kept in more
    return (lowest, highest) if highest > lowest else (lowest, lowest + 1)

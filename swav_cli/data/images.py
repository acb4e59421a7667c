"""Any picture file as uint8 (C, H, W): turned upright, transparent parts on white, deep gray scaled and not clipped."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torchcodec.decoders import decode_jpeg

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".npy"})
MAX_PIXELS = 180_000_000  # beyond that a small file that unpacks to gigabytes is likelier than a photograph


class BadPicture(Exception):
    """A file that is no readable picture; the message says why."""


def read_picture(path: str | Path, channels: int = 3) -> Tensor:
    """A picture file as uint8 (channels, H, W).

    Raises:
        BadPicture: empty, damaged, no picture, or of another number of channels.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BadPicture(error.strerror or str(error)) from None
    return decode_picture(content, channels)


def decode_picture(content: bytes, channels: int = 3) -> Tensor:
    """The same from a file's content."""
    if not content:
        raise BadPicture("the file is empty")
    if content[:6] == b"\x93NUMPY":
        return _from_array(_load_array(content), channels)
    if _is_plain_jpeg(content):
        try:
            return decode_jpeg(content, mode="RGB" if channels == 3 else "GRAY") if channels in (1, 3) else _via_pillow(
                content, channels
            )
        except RuntimeError:
            pass  # Pillow knows more kinds of JPEG, and says what is wrong with a damaged one
    return _via_pillow(content, channels)


def _is_plain_jpeg(content: bytes) -> bool:
    """A JPEG of gray or YCbCr: what torchcodec turns into RGB as Pillow does. Others, such as CMYK, go to Pillow."""
    if content[:2] != b"\xff\xd8":
        return False
    position = 2
    while position + 9 < len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            precision, components = content[position + 4], content[position + 9]
            height = int.from_bytes(content[position + 5 : position + 7], "big")
            width = int.from_bytes(content[position + 7 : position + 9], "big")
            return precision == 8 and components in (1, 3) and 0 < height * width <= MAX_PIXELS
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return False


def _via_pillow(content: bytes, channels: int) -> Tensor:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow says of odd but readable files, once a file
            with Image.open(io.BytesIO(content)) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise BadPicture(f"{opened.width} x {opened.height} pixels are too many to be a picture")
                opened.seek(0)  # an animation's first frame
                picture = ImageOps.exif_transpose(opened)
                return _from_array(_pixels(picture, channels), channels)
    except BadPicture:
        raise
    except Image.DecompressionBombError:
        raise BadPicture("too many pixels to be a picture") from None
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        raise BadPicture(_reason(content, error)) from None


def _reason(content: bytes, error: Exception) -> str:
    start = content[:512].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "a web page, not a picture"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a picture"
    return str(error) or type(error).__name__


def _pixels(picture: Image.Image, channels: int) -> NDArray[np.generic]:
    """(H, W) or (H, W, C), of the file's own depth where the mode is gray."""
    if picture.mode == "1":
        picture = picture.convert("L")
    if picture.mode.startswith(("I", "F")):
        return np.asarray(picture)
    if channels not in (1, 3):
        return np.asarray(picture)
    if "A" in picture.getbands() or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
    return np.asarray(picture.convert("RGB" if channels == 3 else "L"))


def _load_array(content: bytes) -> NDArray[np.generic]:
    try:
        array: NDArray[np.generic] = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise BadPicture(f"a damaged .npy file ({error})") from None
    if array.ndim not in (2, 3):
        raise BadPicture(f"an array of shape {array.shape}; a picture is (H, W) or (H, W, C)")
    return array


def _from_array(pixels: NDArray[np.generic], channels: int) -> Tensor:
    """(H, W) or (H, W, C) of any depth as uint8 (channels, H, W)."""
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    eight = _to_eight_bits(pixels)
    if eight.shape[2] == 1 and channels == 3:
        eight = np.repeat(eight, 3, axis=2)
    if eight.shape[2] != channels:
        raise BadPicture(f"{eight.shape[2]} channels; the recipe's data.channels is {channels}")
    # A picture lies in memory pixel by pixel, and is seen as (C, H, W): crops are cut faster so.
    return torch.from_numpy(np.ascontiguousarray(eight)).permute(2, 0, 1)


def _to_eight_bits(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Deep pixels scaled to 0..255: integers by their type's range, floats that exceed 1 by their own."""
    if pixels.dtype == np.uint8:
        return pixels  # type: ignore[return-value]
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * 255
    values = pixels.astype(np.float64)
    if not np.isfinite(values).all():
        raise BadPicture("holds values that are not finite")
    low, high = _range(pixels.dtype, values)
    return np.rint((values - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)


def _range(kind: np.dtype[np.generic], values: NDArray[np.float64]) -> tuple[float, float]:
    if kind in (np.uint16, np.int16):
        # 16-bit gray arrives as uint16, signed medical data as int16
        return (0.0, 65535.0) if values.min() >= 0 else (-32768.0, 32767.0)
    if values.size and 0 <= values.min() and values.max() <= 1 and np.issubdtype(kind, np.floating):
        return 0.0, 1.0
    if values.size and 0 <= values.min() and 255 < values.max() <= 65535:
        return 0.0, 65535.0  # Pillow's mode "I" holds 16-bit gray
    if values.size and 0 <= values.min() and values.max() <= 255:
        return 0.0, 255.0
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low, low + 1)

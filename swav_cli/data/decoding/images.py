"""Any picture file as uint8 (C, H, W): turned upright, transparent parts on white, deep samples scaled, not clipped."""

from __future__ import annotations

import errno
import io
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from swav_cli.data.decoding import png, tiff
from swav_cli.data.decoding.depth import array_in_eight_bits
from swav_cli.data.decoding.foreign import described, why_unread
from swav_cli.data.decoding.formats import BadPicture, Reduce, format_of
from swav_cli.data.decoding.jpeg import decode_plain
from swav_cli.data.decoding.orientation import ORIENTATION, orientation_in, turned
from swav_cli.data.decoding.tiff_tags import layout_of

MAX_PIXELS = 180_000_000  # beyond that a small file that unpacks to gigabytes is likelier than a photograph
NPY = b"\x93NUMPY"
PAUSES = (0.1, 0.4, 1.6)  # seconds before each further try to read a file of a disk that fails now and then
# What a further try does not mend.
LASTING = frozenset({
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL,
})  # fmt: skip


def read_picture(path: str | Path, channels: int = 3, reduce: Reduce | None = None) -> Tensor:
    """A picture file as uint8 (channels, H, W).

    >>> tuple(read_picture("demo/bird.JPEG").shape)
    (3, 375, 500)

    Args:
        reduce: of an ordinary JPEG's height and width, by what it may be decoded smaller: 1, 2, 4 or 8.

    Raises:
        BadPicture: empty, damaged, no picture, of another number of channels, or not to be read after several tries.
    """
    try:
        content = read_patiently(Path(path).read_bytes)
    except OSError as error:
        raise BadPicture(error.strerror or str(error)) from None
    except ValueError:  # a byte of zeros in it, as lists hold that were broken off while they were written
        raise BadPicture("no file can have this name") from None
    return decode_picture(content, channels, reduce)


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


def decode_picture(content: bytes, channels: int = 3, reduce: Reduce | None = None) -> Tensor:
    """The same from a file's content."""
    if content.startswith(NPY):
        return from_array(_load_array(content), channels)
    kind = format_of(content)
    if kind == "JPEG" and channels in (1, 3):
        picture = decode_plain(content, channels, MAX_PIXELS, reduce)
        if picture is not None:
            return picture  # Pillow knows more kinds of JPEG, and says what is wrong with a damaged one
    if kind is None:
        raise BadPicture(described(content))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow says of odd but readable files, once a file
        try:
            return _decode(content, kind, channels)
        except BadPicture:
            raise
        except Image.DecompressionBombError:
            raise BadPicture("too many pixels to be a picture") from None
        except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
            raise BadPicture(why_unread(content, kind, error)) from None


def _decode(content: bytes, kind: str, channels: int) -> Tensor:
    if kind == "TIFF":
        deep = _from_deep_tiff(content, channels)
        return from_pillow(tiff.with_palette(_load(content, kind)), channels) if deep is None else deep
    if kind == "PNG":
        return from_pillow(_load_png(content), channels)
    picture = _load(content, kind)
    if kind == "BMP" and picture.mode == "RGBA" and channels != 4 and picture.getchannel("A").getextrema() == (0, 0):
        picture = picture.convert("RGB")  # an alpha channel that nobody has filled, as browsers and Windows see it
    return from_pillow(picture, channels)


def _load(content: bytes, kind: str) -> Image.Image:
    picture = Image.open(io.BytesIO(content), formats=(kind,))
    if picture.width * picture.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    picture.seek(0)  # an animation's first frame
    picture.load()
    return picture


def _load_png(content: bytes) -> Image.Image:
    try:
        return png.with_transparency(_load(content, "PNG"), content)
    except Image.DecompressionBombError:
        raise
    except Exception:  # it may be for something beside the pixels
        content = png.pixels_alone(content)
        return png.with_transparency(_load(content, "PNG"), content)


def _from_deep_tiff(content: bytes, channels: int) -> Tensor | None:
    """A TIFF that Pillow would not read rightly, or whose samples are channels; None of any other."""
    layout = layout_of(content)
    if layout.is_ordinary and (channels in (1, 3) or not layout.is_plain):
        return None
    if max(layout.width * layout.height, layout.bytes // 12) > MAX_PIXELS:  # 12: floats of 32 bits in three colours
        raise Image.DecompressionBombError
    samples = tiff.read_samples(content, layout)
    picture = tiff.as_colours(samples, layout) if channels in (1, 3) else None
    return turned(from_array(samples if picture is None else _pixels(picture, channels), channels), layout.orientation)


def from_pillow(picture: Image.Image, channels: int = 3) -> Tensor:
    """A picture that Pillow has opened, as uint8 (channels, H, W)."""
    if picture.mode == "I" and picture.format in ("PNG", "PPM"):
        picture = picture.convert("I;16")  # 16 bits a pixel, which some versions of Pillow hold in 32
    return from_array(_pixels(_upright(picture), channels), channels)


def _upright(picture: Image.Image) -> Image.Image:
    try:
        exif = picture.getexif()
        if ORIENTATION in exif:
            exif[ORIENTATION] = orientation_in(exif)
        return ImageOps.exif_transpose(picture)
    except Exception:  # damaged EXIF data, of which Pillow says this and that, leave the pixels as they are
        return picture


def _pixels(picture: Image.Image, channels: int) -> NDArray[Any]:
    """(H, W) or (H, W, C), of the file's own depth where the mode is gray."""
    if picture.mode == "1":
        picture = picture.convert("L")
    transparent = picture.info.get("transparency")
    if picture.mode == "I;16" and transparent is not None and channels in (1, 3):
        deep = np.asarray(picture)
        return np.where(deep == transparent, np.uint16(65535), deep)
    if channels not in (1, 3) or picture.mode.startswith(("I", "F")):
        return np.asarray(picture)
    if "A" in picture.getbands() or transparent is not None:
        layered = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
    return np.asarray(picture.convert("RGB" if channels == 3 else "L"))


def _load_array(content: bytes) -> NDArray[Any]:
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[
            version
        ]
        shape, columns_first, kind = read_header(stream)
        if kind.kind not in "buif":
            raise BadPicture(f"an array of {kind}; a picture holds numbers")
        # Not np.load: it takes the memory that the header asks for before it looks whether the file holds so much.
        flat = np.frombuffer(content, kind, count=math.prod(shape), offset=stream.tell())
    except (ValueError, KeyError) as error:
        raise BadPicture(f"a damaged .npy file ({error})") from None
    if len(shape) not in (2, 3) or 0 in shape:
        raise BadPicture(f"an array of shape {shape}; a picture is (H, W) or (H, W, C)")
    return flat.reshape(shape, order="F" if columns_first else "C")


def from_array(pixels: NDArray[Any], channels: int) -> Tensor:
    """(H, W) or (H, W, C) of any depth as uint8 (channels, H, W)."""
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] == 1 and channels == 3:
        pixels = np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] != channels:
        raise BadPicture(f"{pixels.shape[2]} channels; the recipe's data.channels is {channels}")
    # A picture lies in memory pixel by pixel, and is seen as (C, H, W): crops are cut faster so.
    return torch.from_numpy(np.require(array_in_eight_bits(pixels), requirements=["C", "W"])).permute(2, 0, 1)

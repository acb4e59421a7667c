"""Pictures inside a page: small, as the text of an address that holds them whole."""

from __future__ import annotations

import io
from base64 import b64encode
from functools import cache
from pathlib import Path

from PIL import Image, features
from torch import Tensor

QUALITY = 80


@cache
def _format() -> str:
    """WebP has half of JPEG's bytes; every browser shows it, and nearly every Pillow writes it."""
    return "WEBP" if features.check("webp") else "JPEG"


def data_address(picture: Image.Image, quality: int = QUALITY) -> str:
    """
    >>> data_address(Image.new("RGB", (8, 8))).split(",")[0] in ("data:image/webp;base64", "data:image/jpeg;base64")
    True
    """
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, format=_format(), quality=quality)
    return f"data:image/{_format().lower()};base64,{b64encode(stream.getvalue()).decode()}"


def pixels_address(pixels: Tensor, quality: int = QUALITY) -> str:  # (3, H, W), 0 to 1
    from swav_cli.report.sheet import as_image

    return data_address(as_image(pixels), quality)


def file_address(path: Path, widest: int) -> str | None:
    """A picture in a file, made no wider than so many pixels; None where it is not there or can't be read."""
    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (OSError, ValueError):
        return None
    if picture.width > widest:
        picture = picture.resize((widest, round(picture.height * widest / picture.width)), Image.Resampling.LANCZOS)
    return data_address(picture)

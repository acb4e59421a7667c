"""What browsers make more of than Pillow: PNGs with faults beside their pixels, and one colour that is transparent."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from PIL import Image
from torchcodec.decoders import decode_png  # type: ignore[attr-defined]

FIRST = 8  # where the first chunk begins
GRAY, RGB, PALETTE = 0, 2, 3  # colour types
TRANSPARENT = {GRAY: range(2, 3), RGB: range(6, 7), PALETTE: range(1, 257)}  # lengths that tRNS may have


class Chunk(NamedTuple):
    """A part of a PNG with a name (PNG specification, 5.3)."""

    name: bytes
    start: int
    stop: int
    is_sound: bool  # its checksum is right

    @property
    def is_critical(self) -> bool:
        return not self.name[0] & 0x20


def chunks(content: bytes) -> Iterator[Chunk]:
    """All that are whole, up to the end or to what is no chunk."""
    position = FIRST
    while position + 12 <= len(content):
        stop = position + 12 + int.from_bytes(content[position : position + 4], "big")
        name = content[position + 4 : position + 8]
        if stop > len(content) or not name.isalpha():
            return
        sound = zlib.crc32(content[position + 4 : stop - 4]) == int.from_bytes(content[stop - 4 : stop], "big")
        yield Chunk(name, position, stop, sound)
        position = stop


def pixels_alone(content: bytes, kept: frozenset[bytes] = frozenset({b"tRNS", b"eXIf"})) -> bytes:
    """The file without texts, profiles, animation and whatever else no pixel depends on.

    Pillow gives a picture up for a text that is long, or for a wrong checksum in any of them. Those that the pixels or
    their orientation depend on stay where they are sound, and the critical ones in any case.
    """
    parts, end = [content[:FIRST]], FIRST
    lengths = TRANSPARENT.get(_colour_type(content), range(0))
    for chunk in chunks(content):
        fits = chunk.name != b"tRNS" or chunk.stop - chunk.start - 12 in lengths
        if chunk.is_critical or (chunk.name in kept and chunk.is_sound and fits):
            parts.append(content[chunk.start : chunk.stop])
        end = chunk.stop
    return b"".join([*parts, content[end:]])


def with_transparency(picture: Image.Image, content: bytes) -> Image.Image:
    """A PNG that Pillow has loaded, with its transparent colour in the picture's own depth, or as an alpha channel.

    The colour is written in the file's depth, with which Pillow compares pixels of 8 bits.
    """
    colour: Any = picture.info.get("transparency")
    depth = content[FIRST + 16]
    if colour is None or _colour_type(content) == PALETTE or depth in (1, 8):
        return picture
    if _colour_type(content) == GRAY and depth < 8:
        picture.info["transparency"] = colour * (255 // (2**depth - 1))
    elif _colour_type(content) == RGB:
        # Two colours of 16 bits may be one of 8. Without eXIf: torchcodec would turn the picture.
        deep = decode_png(pixels_alone(content, frozenset({b"tRNS"})), mode="RGB_ALPHA", output_dtype=torch.uint16)
        del picture.info["transparency"]
        picture.putalpha(Image.fromarray(deep[3].bool().to(torch.uint8).mul(255).numpy()))
    return picture


def _colour_type(content: bytes) -> int:
    return content[FIRST + 17]

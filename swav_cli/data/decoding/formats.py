"""Which picture files are read: by the ends of their names in folders, and by their first bytes once they are open.

Pillow reads many more. What is not named here is never handed to it: PostScript would start Ghostscript, and formats
that have no mark of their own (TGA) would be tried on whatever a folder holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

Reduce = Callable[[int, int], int]  # (height, width) -> 1, 2, 4 or 8, by which a JPEG may be decoded smaller

# The one list: folders, tables, shards and streams take files that end so, in any case of letters, for pictures.
SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".avif", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".ppm",
    ".pgm", ".pbm", ".pnm", ".npy",
})  # fmt: skip

# Pillow's names of formats, by how their files begin.
STARTS: Mapping[bytes, str] = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
    **{b"P%d" % number: "PPM" for number in range(1, 7)},
}


class BadPicture(Exception):
    """A file that is no readable picture; the message says why."""


def format_of(content: bytes) -> str | None:
    """Pillow's name of the format in which a file begins, if it is one that is read."""
    for start, name in STARTS.items():
        if content.startswith(start):
            return name
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    if content[4:8] == b"ftyp" and brands(content) & {b"avif", b"avis"}:
        return "AVIF"
    return None


def brands(content: bytes) -> set[bytes]:
    """What a file of the family of MP4, HEIC and AVIF says that it is (ISO/IEC 14496-12, box `ftyp`)."""
    end = min(int.from_bytes(content[:4], "big"), 256)
    return {content[place : place + 4] for place in (8, *range(16, end, 4))}

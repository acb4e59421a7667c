"""Files that are no picture, or none that is read, are told by what they hold."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image, features

from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.decoding.images import decode_picture
from tests.data.decoding.test_png import chunk, photo

PICTURE = Image.linear_gradient("L").convert("RGB")


def encode(kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    PICTURE.save(stream, kind, **options)
    return stream.getvalue()


def boxed(main: bytes, *others: bytes) -> bytes:
    size = 16 + 4 * len(others)
    return struct.pack(">I4s4sI", size, b"ftyp", main, 0) + b"".join(others) + bytes(200)


def frame(content: bytes, marker: int, precision: int) -> bytes:
    """A JPEG that says another kind and depth of itself."""
    at = content.index(b"\xff\xc0")
    return content[:at] + bytes([0xFF, marker]) + content[at + 2 : at + 4] + bytes([precision]) + content[at + 5 :]


# Pixels without zlib's header and sum, behind a chunk of its own.
RAW = zlib.compressobj(wbits=-15)
APPLES = photo().replace(b"\r\n\x1a\n", b"\r\n\x1a\n" + chunk(b"CgBI", bytes(4)), 1)
APPLES = (
    APPLES[: APPLES.index(b"IDAT") - 4] + chunk(b"IDAT", RAW.compress(bytes(5000)) + RAW.flush()) + chunk(b"IEND", b"")
)

FILES = {
    "empty": (b"", "the file is empty"),
    "zeros": (bytes(5000), "nothing but zeros"),
    "HEIC": (boxed(b"heic", b"mif1", b"heic"), "a HEIC picture, which is not read; convert it to JPEG or PNG"),
    "HEIF": (boxed(b"mif1", b"heic"), "a HEIC picture"),
    "Canon raw": (boxed(b"crx ", b"crx ", b"isom"), "a raw picture of a Canon camera"),
    "JPEG XL": (b"\xff\x0a" + bytes(range(100)), "a JPEG XL picture"),
    "JPEG XL in boxes": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "a JPEG XL picture"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99), "a JPEG 2000 picture"),
    "Photoshop": (b"8BPS\0\1" + bytes(99), "a Photoshop picture"),
    "icon": (b"\0\0\1\0\1\0" + bytes(99), "an icon"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript drawing"),
    "DICOM": (bytes(128) + b"DICM" + b"\2\0\0\0UL", "a DICOM picture"),
    "NIfTI": (struct.pack("<I", 348) + bytes(340) + b"n+1\0", "a NIfTI volume"),
    "OpenEXR": (b"v/1\1\2\0\0\0", "an OpenEXR picture"),
    "Radiance": (b"#?RADIANCE\n", "a Radiance HDR picture"),
    "SVG": (b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
    "plain SVG": (b'\n<svg width="3"></svg>', "an SVG drawing"),
    "web page": (b"\n<!DOCTYPE html>\n<html><body>404</body></html>", "a web page, not a picture"),
    "web page without a type": (b"<html><head><svg2/></head>", "a web page, not a picture"),
    "XML": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML text, not a picture"),
    "JSON": (b'{"message": "Not Found"}', "a text in JSON, not a picture"),
    "text": ("Größe: 3 × 4\n".encode(), "a text, not a picture"),
    "long text": (("é" * 4000).encode(), "a text, not a picture"),
    "text of Windows": ("a text".encode("utf-16"), "a text, not a picture"),
    "web page of Windows": ("<html><body>".encode("utf-16"), "a web page, not a picture"),
    "SVG of Windows": ("<svg/>".encode("utf-16"), "an SVG drawing"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "PDF": (b"%PDF-1.7\n", "a PDF document, not a picture"),
    "MP4": (boxed(b"isom", b"isom", b"avc1"), "a video"),
    "QuickTime": (boxed(b"qt  "), "a video"),
    "Matroska": (b"\x1aE\xdf\xa3" + bytes(30), "a video"),
    "AVI": (b"RIFF\0\0\0\0AVI LIST", "a video"),
    "ZIP": (b"PK\3\4" + bytes(30), "a ZIP archive"),
    "gzip": (b"\x1f\x8b\x08" + bytes(30), "a gzip archive"),
    "tar": (b"a.jpg".ljust(257, b"\0") + b"ustar\x0000" + bytes(248), "a tar archive"),
    "macOS": (b"\0\5\x16\7\0\2\0\0Mac OS X", "AppleDouble"),
    "Thumbs.db": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Thumbs.db"),
    "TGA": (encode("TGA"), "a TGA picture"),
    "noise": (bytes([139, 7, 201, 3, 250, 0, 17]), "not a picture, nor any .* known: it begins with 8b 07 c9 03"),
    "two bytes of a JPEG": (b"\xff\xd8", "the beginning of a JPEG"),
    "JPEG of 12 bits": (frame(encode("JPEG"), 0xC1, 12), "a JPEG of 12 bits a sample, which is not read"),
    "lossless JPEG": (frame(encode("JPEG"), 0xC3, 8), "a JPEG of a lossless kind"),
    "JPEG-LS": (frame(encode("JPEG"), 0xF7, 8), "a JPEG of a lossless kind"),
    "half a JPEG": (encode("JPEG", quality=99)[:1500], "a JPEG that can't be read: .*truncated"),
    "a JPEG's header": (encode("JPEG")[:20], "a JPEG that can't be read: it breaks off before its picture"),
    "a PNG's signature": (photo()[:8], "a PNG that can't be read: it breaks off near its beginning"),
    "a GIF's header": (encode("GIF")[:10], "a GIF that can't be read: it breaks off near its beginning"),
    "a TIFF's first bytes": (encode("TIFF")[:6], "a TIFF that can't be read: it breaks off near its beginning"),
    "half a PNG": (photo()[:900], "a PNG that can't be read: .*truncated"),
    "wrong sum": (photo().replace(b"IHDR\0", b"IHDR\1"), "a PNG that can't be read: .*checksum in b'IHDR'"),
    "PNG for Apple's apps": (APPLES, "a PNG in Apple's own form"),
    "PNG of a kind that there is not": (photo().replace(*[
        b"IHDR" + body + struct.pack(">I", zlib.crc32(b"IHDR" + body))
        for body in (struct.pack(">IIBBBBB", 40, 30, bits, 2, 0, 0, 0) for bits in (8, 4))
    ]), "a PNG that can't be read"),
    "half a BMP": (encode("BMP")[:500], "a BMP that can't be read: "),
    "a BMP's header": (encode("BMP")[:20], "a BMP that can't be read: "),
    "a WebP's header": (encode("WEBP")[:30], "a WEBP that can't be read: "),
    "a TIFF's header": (encode("TIFF")[:8], "a damaged TIFF: "),
    "half a GIF": (encode("GIF")[:300], "a GIF that can't be read: "),
    "PPM": (b"P6 12 nothing\n", "a PPM that can't be read: "),
    "AVIF": (boxed(b"avif", b"avif", b"mif1"), "an AVIF that can't be read|pip install --upgrade pillow"),
}  # fmt: skip


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("name", FILES)
def test_a_file_is_told_by_what_it_holds(name: str, channels: int) -> None:
    content, reason = FILES[name]
    with pytest.raises(BadPicture, match=reason) as raised:
        decode_picture(content, channels)
    assert "<_io" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_pillow_without_a_format_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode("WEBP")
    monkeypatch.setattr(features, "check", lambda _: False)
    monkeypatch.setitem(Image.OPEN, "WEBP", (lambda *_: 1 / 0, None))
    with pytest.raises(BadPicture, match="a picture in WEBP, which this Pillow has no decoder of"):
        decode_picture(content)

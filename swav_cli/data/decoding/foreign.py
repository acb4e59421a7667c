"""What a file is that can't be read as a picture, in words: by its first bytes, whatever its name says."""

from __future__ import annotations

import codecs
import io
import struct
from typing import Any

from PIL import Image, UnidentifiedImageError, features

from swav_cli.data.decoding.formats import brands
from swav_cli.data.decoding.jpeg import FRAMES, Frame, segments
from swav_cli.data.decoding.tiff_tags import layout_of
from swav_cli.data.decoding.tiff_tags import why_unread as why_layout

# Pictures that another tool can turn into one that is read.
PICTURES: dict[bytes, str] = {
    b"\xff\x0a": "a JPEG XL picture",
    b"\0\0\0\x0cJXL ": "a JPEG XL picture",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 picture",
    b"\xff\x4f\xff\x51": "a JPEG 2000 picture",
    b"II\xbc": "a JPEG XR picture",
    b"8BPS": "a Photoshop picture",
    b"gimp xcf": "a GIMP picture",
    b"\0\0\1\0": "an icon (ICO)",
    b"\0\0\2\0": "a cursor (CUR)",
    b"icns": "an icon (ICNS)",
    b"%!PS": "a PostScript drawing",
    b"\xc5\xd0\xd3\xc6": "a PostScript drawing",
    b"v/1\1": "an OpenEXR picture",
    b"#?RADIANCE": "a Radiance HDR picture",
    b"#?RGBE": "a Radiance HDR picture",
    b"PF\n": "a picture of floats (PFM)",
    b"Pf\n": "a picture of floats (PFM)",
    b"P7\n": "a PAM picture",
    b"DDS ": "a DDS texture",
    b"\xabKTX": "a KTX texture",
    b"qoif": "a QOI picture",
    b"FLIF": "a FLIF picture",
    b"BPG\xfb": "a BPG picture",
    b"\x8aMNG": "an MNG animation",
    b"\xd7\xcd\xc6\x9a": "a WMF drawing",
    b"\1\0\0\0\x58\0\0\0": "an EMF drawing",
    b"\x0a\5\1\x08": "a PCX picture",
    b"\1\xda": "an SGI picture",
    b"\x59\xa6\x6a\x95": "a Sun raster picture",
    b"SDPX": "a DPX picture",
    b"XPDS": "a DPX picture",
    b"AT&TFORM": "a DjVu document",
    b"SIMPLE  =": "a FITS picture",
    b"ZISRAWFILE": "a Zeiss CZI picture",
    b"FUJIFILMCCD-RAW": "a raw picture of a Fujifilm camera",
    b"IIU\0": "a raw picture of a Panasonic camera",
    b"IIRO": "a raw picture of an Olympus camera",
    b"FOVb": "a raw picture of a Sigma camera",
    b"\0MRM": "a raw picture of a Minolta camera",
}

# Files that hold no picture, or many things.
OTHERS: dict[bytes, str] = {
    b"%PDF": "a PDF document",
    b"\x1aE\xdf\xa3": "a video (Matroska or WebM)",
    b"\0\0\1\xba": "a video (MPEG)",
    b"\0\0\1\xb3": "a video (MPEG)",
    b"FLV\1": "a video (FLV)",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "a video (WMV)",
    b"OggS": "a video or a sound (Ogg)",
    b"ID3": "a sound (MP3)",
    b"fLaC": "a sound (FLAC)",
    b"PK\3\4": "a ZIP archive",
    b"PK\5\6": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"\x89HDF": "an HDF5 file",
    b"PAR1": "a Parquet file",
    b"SQLite format 3": "an SQLite database",
    b"\xd0\xcf\x11\xe0": "an Office document or Windows' Thumbs.db",
    b"\0\5\x16\7": "what macOS keeps beside a file (AppleDouble)",
    b"\x7fELF": "a program",
    b"MZ": "a program",
}

# The family of MP4, by its main brand; any other one is taken for a video.
HEIC = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"})
RIFF = {b"AVI ": "a video (AVI)", b"WAVE": "a sound (WAV)", b"ACON": "an animated cursor"}


def described(content: bytes) -> str:
    """What a file is whose beginning is that of no format that is read."""
    if not content:
        return "the file is empty"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return described(_in_utf8(content))
    if not content.strip(b"\0"):
        return "the file holds nothing but zeros, as a copy does that was broken off"
    picture = _picture(content)
    if picture:
        return f"{picture}, which is not read; convert it to JPEG or PNG"
    other = next((name for start, name in OTHERS.items() if content.startswith(start)), None) or _other(content)
    if other:
        return f"{other}, not a picture"
    return f"not a picture, nor any file that is known: it begins with {content[:4].hex(' ')}"


def _in_utf8(content: bytes) -> bytes:
    """A text in UTF-16, as Windows' own programs write it; the beginning tells enough."""
    return content[: len(content) // 2 * 2][:4096].decode("utf-16", errors="replace").encode() or b" "


def _picture(content: bytes) -> str | None:
    if content[4:8] == b"ftyp":
        main = content[8:12]
        if main == b"crx ":
            return "a raw picture of a Canon camera"
        return "a HEIC picture" if main in HEIC or brands(content) & HEIC else None
    if content[128:132] == b"DICM":
        return "a DICOM picture"
    if content[344:348] in (b"n+1\0", b"ni1\0"):
        return "a NIfTI volume"
    if content.endswith(b"TRUEVISION-XFILE.\0"):
        return "a TGA picture"
    markup = content[:2048].lower() if _is_markup(content) else b""
    if b"<svg" in markup and b"<html" not in markup:
        return "an SVG drawing"
    return next((name for start, name in PICTURES.items() if content.startswith(start)), None)


def _other(content: bytes) -> str | None:
    if content[4:8] == b"ftyp":
        return "a sound (MP4)" if content[8:11] in (b"M4A", b"M4B") else "a video (MP4 or QuickTime)"
    if content[4:8] in (b"moov", b"mdat"):
        return "a video (QuickTime)"
    if content[:4] == b"RIFF":
        return RIFF.get(content[8:12])
    if content[257:262] == b"ustar":
        return "a tar archive"
    if content[:2] == b"\xff\xd8":
        return "the beginning of a JPEG"
    return _text(content)


def _is_markup(content: bytes) -> bool:
    return content[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _text(content: bytes) -> str | None:
    if content.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS (`git lfs pull` fetches the picture itself)"
    start = content[:512].lower()
    if _is_markup(content):
        web = b"<html" in start or b"<!doctype html" in start or b"<head" in start or b"<body" in start
        return "a web page" if web else "an XML text"
    try:
        words = content[:256].decode("utf-8-sig", errors="strict" if len(content) <= 256 else "ignore")
    except UnicodeDecodeError:
        return None
    if not all(letter.isprintable() or letter in "\t\r\n" for letter in words):
        return None
    return "a text in JSON" if words.lstrip().startswith(("{", "[")) else "a text"


def why_unread(content: bytes, kind: str, error: Exception) -> str:
    """The reason why a file of a format that is read can't be, told by what it holds, else by its reader's `error`."""
    told = _why_jpeg(content) if kind == "JPEG" else _why_tiff(content) if kind == "TIFF" else None
    if kind == "PNG" and content[12:16] == b"CgBI":
        told = "a PNG in Apple's own form for apps (CgBI), which is not read; convert it to a plain PNG"
    if kind in ("AVIF", "WEBP") and not features.check(kind.lower()):
        told = f"a picture in {kind}, which this Pillow has no decoder of (pip install --upgrade pillow)"
    if told:
        return told
    if isinstance(error, UnidentifiedImageError):
        error = _inner(content, kind) or error
    # Pillow's readers say what fails within them, and hold the error itself.
    broken_off = isinstance(error.__cause__ or error, (IndexError, struct.error, EOFError))
    text = str(error) or type(error).__name__
    if broken_off and "truncated" not in text:
        text = "it breaks off near its beginning, or is damaged there"
    article = "an" if kind == "AVIF" else "a"
    return f"{article} {kind} that can't be read: {'its beginning makes no sense' if '<_io' in text else text}"


def _inner(content: bytes, kind: str) -> Exception | None:
    """What Pillow's own reader of the format says, which `Image.open` keeps to itself."""
    try:
        reader: Any = Image.OPEN[kind][0]
        reader(io.BytesIO(content), "")
    except Exception as error:
        return error
    return None


def _why_jpeg(content: bytes) -> str | None:
    frame = Frame.of(content)
    if frame is not None and frame.precision not in (0, 8):
        return f"a JPEG of {frame.precision} bits a sample, which is not read; save it with 8 bits"
    lossless = {0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
    marker = next((part.marker for part in segments(content) if part.marker in FRAMES | {0xF7}), None)
    if marker is None:
        return "a JPEG that can't be read: it breaks off before its picture, or is damaged there"
    return "a JPEG of a lossless kind, which is not read; save it as an ordinary one" if marker in lossless else None


def _why_tiff(content: bytes) -> str | None:
    try:
        return why_layout(layout_of(content))
    except Exception:
        return None

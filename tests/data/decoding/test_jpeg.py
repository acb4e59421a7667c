"""JPEGs lie upright wherever their EXIF data are and however those are written, and are else as torchcodec says."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchcodec.decoders import decode_jpeg

from swav_cli.core.multicrop import Reduction
from swav_cli.data.decoding.images import decode_picture
from swav_cli.data.decoding.jpeg import Frame, decode_plain, segments
from swav_cli.data.reading.cache import cached
from swav_cli.data.reading.loader import Crops
from swav_cli.data.sources import open_pictures
from swav_cli.recipe.sections import CropRecipe
from tests.data.tars import make_tar

RNG = np.random.default_rng(0)
PHOTO = Image.fromarray(RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize((60, 40), Image.Resampling.BICUBIC)
XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
LONG_XMP = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40 + b"<x/>" * 9000
THERMAL = b"FLIR\0\1\0\2" + bytes(300)


def jpeg(mode: str = "RGB", **options: Any) -> bytes:
    stream = io.BytesIO()
    PHOTO.convert(mode).save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


def segment(data: bytes, marker: int = 0xE1) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def exif(orientation: int, order: str = "<", kind: str = "H") -> bytes:
    """The smallest that there is: Orientation alone, as SHORT (H), LONG (I), BYTE (B), UNDEFINED (c) or SLONG (i)."""
    value = struct.pack(order + kind.replace("c", "B"), orientation).ljust(4, b"\0")
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    entry = struct.pack(order + "HHI", 0x0112, {"H": 3, "I": 4, "B": 1, "c": 7, "i": 9}[kind], 1) + value
    return b"Exif\0\0" + start + struct.pack(order + "H", 1) + entry + struct.pack(order + "I", 0)


def put_in(content: bytes, *parts: bytes) -> bytes:
    return content[:2] + b"".join(parts) + content[2:]


UPRIGHT = {
    1: lambda x: x, 2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud, 5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1), 7: lambda x: np.rot90(x, 2).swapaxes(0, 1), 8: np.rot90,
}  # fmt: skip


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(("order", "kind"), [("<", "H"), (">", "H"), ("<", "I"), (">", "I")])
@pytest.mark.parametrize(
    "before", [(), (XMP,), (XMP, LONG_XMP, LONG_XMP), (THERMAL,)], ids=["first", "xmp", "long", "flir"]
)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright(orientation: int, before: tuple[bytes, ...], order: str, kind: str, mode: str) -> None:
    flat = jpeg(mode)
    content = put_in(flat, *map(segment, before), segment(exif(orientation, order, kind)))
    for channels in (1, 3):
        wanted = UPRIGHT[orientation](decode_picture(flat, channels).permute(1, 2, 0).numpy())
        assert (decode_picture(content, channels).permute(1, 2, 0).numpy() == wanted).all()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_upright_with_the_exif_data_behind_other_segments(mode: str) -> None:
    """CMYK is read by Pillow: both turn alike."""
    flat = jpeg(mode)
    first = next(part for part in segments(flat) if part.marker == 0xDB)
    content = (
        flat[: first.start] + segment(b"ICC_PROFILE\0\1\1" + bytes(50), 0xE2) + segment(exif(6)) + flat[first.start :]
    )
    assert (decode_picture(content) == decode_picture(flat).rot90(-1, (1, 2))).all()


@pytest.mark.parametrize("kind", ["B", "c", "i"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_upright_by_a_number_of_any_type(mode: str, kind: str) -> None:
    """Pillow hands bytes over for some of them."""
    flat = jpeg(mode)
    for orientation in (3, 6, 8):
        wanted = UPRIGHT[orientation](decode_picture(flat).permute(1, 2, 0).numpy())
        found = decode_picture(put_in(flat, segment(exif(orientation, ">", kind))))
        assert (found.permute(1, 2, 0).numpy() == wanted).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_ordinary_one_is_as_torchcodec_turns_it(orientation: int) -> None:
    tags = Image.Exif()
    tags[0x0112], tags[0x010F] = orientation, "a maker"
    for content in (jpeg(exif=tags.tobytes()), jpeg("L", exif=tags.tobytes())):
        assert torch.equal(decode_picture(content), decode_jpeg(content, mode="RGB"))
        assert torch.equal(decode_picture(content, 1), decode_jpeg(content, mode="GRAY"))


@pytest.mark.parametrize(
    "damaged", [exif(6)[:20], exif(0), exif(9), exif(70_000, "<", "I"), b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff"]
)
def test_damaged_exif_data_leave_the_pixels(damaged: bytes) -> None:
    flat = jpeg()
    assert torch.equal(decode_picture(put_in(flat, segment(damaged))), decode_picture(flat))


def test_bytes_that_fill_the_space_between_segments() -> None:
    flat = jpeg()
    content = put_in(flat, b"\xff\xff\xff", segment(XMP), b"\xff", segment(exif(6)))
    assert decode_plain(content, 3, 9999) is not None
    assert torch.equal(decode_picture(content), decode_picture(flat).rot90(-1, (1, 2)))


def test_what_the_frame_says() -> None:
    assert Frame.of(jpeg()) == (8, 40, 60, 3)
    assert Frame.of(jpeg("L", progressive=True)) == (8, 40, 60, 1)
    assert Frame.of(jpeg()[:100]) is None
    assert Frame.of(b"\xff\xd8") is None


@pytest.mark.parametrize("cut", [2, 3, 4, 5, 20, 160, 300])
def test_a_file_that_breaks_off_among_its_segments(cut: int) -> None:
    assert list(segments(jpeg()[:cut])) == [part for part in segments(jpeg()) if part.stop <= cut]
    assert decode_plain(jpeg()[:cut], 3, 9999) is None


def test_upright_in_folders_in_shards_and_in_training(tmp_path: Path) -> None:
    flat = jpeg()
    content = put_in(flat, segment(XMP), segment(exif(6)))
    upright = decode_picture(flat).rot90(-1, (1, 2))
    (tmp_path / "a.jpg").write_bytes(content)
    make_tar(tmp_path / "s.tar", {"a.jpg": content})
    for source in (tmp_path, tmp_path / "s.tar"):
        pictures = open_pictures(str(source))
        assert torch.equal(pictures.read(0), upright)
        batch = Crops(pictures, lambda picture, *_: ([picture[None]], torch.empty(1, 0))).__getitems__([(0, 0)])
        assert torch.equal(batch.crops[0].squeeze(0).squeeze(0), upright)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("by", [2, 4, 8])
def test_decoded_smaller_it_is_the_same_picture(by: int, mode: str) -> None:
    waves = (
        np.sin(np.linspace(0, 9, 640))[None, :, None] * np.cos(np.linspace(0, 7, 480))[:, None, None] * [60, -90, 40]
    )
    stream = io.BytesIO()
    Image.fromarray((128 + waves).astype(np.uint8)).convert(mode).save(stream, "JPEG", quality=95)
    content = put_in(stream.getvalue(), segment(exif(6)))
    channels = len(mode)
    asked: list[tuple[int, int]] = []

    def reduce(height: int, width: int) -> int:
        asked.append((height, width))
        return by

    whole, smaller = decode_picture(content, channels), decode_picture(content, channels, reduce)
    assert asked == [(480, 640)]  # as it lies in the file
    assert smaller.shape == (channels, 640 // by, 480 // by)  # and upright
    averaged = torch.nn.functional.avg_pool2d(whole.float(), by)
    assert (smaller.float() - averaged).abs().mean() < 1


def test_decoded_smaller_in_folders_in_shards_in_tables_and_in_training(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(4):
        PHOTO.resize((640, 480)).save(tmp_path / "photos" / f"{number}.jpg")
    contents = {path.name: path.read_bytes() for path in sorted((tmp_path / "photos").iterdir())}
    make_tar(tmp_path / "photos.tar", contents)
    (tmp_path / "photos.jsonl").write_text("".join(f'{{"path": "photos/{name}"}}\n' for name in contents))
    reduction = Reduction.of([CropRecipe(count=2, size=32, scale=(0.5, 1.0))])
    for source in ("photos", "photos.tar", "photos.jsonl"):
        for limit in (None, 2):
            pictures = open_pictures(str(tmp_path / source), limit=limit)
            assert pictures.read(0).shape == (3, 480, 640)
            pictures.decode_for(reduction)
            assert pictures.read(0).shape == (3, 120, 160)
            assert cached(pictures, True).read(1).shape == (3, 120, 160)

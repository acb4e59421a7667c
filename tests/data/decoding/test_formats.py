"""Which files are taken for pictures, and that no other format is ever opened."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import EpsImagePlugin, Image
from torchvision.datasets import ImageFolder

from swav_cli.data.decoding.formats import STARTS, BadPicture, format_of
from swav_cli.data.decoding.images import decode_picture
from swav_cli.data.torchvision_pictures import TorchvisionPictures

PICTURE = Image.new("RGB", (9, 8), "red")


def encode(kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    PICTURE.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", sorted({*STARTS.values(), "WEBP", "AVIF"}))
def test_a_format_is_told_by_its_first_bytes(kind: str) -> None:
    try:
        content = encode(kind)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {kind}")
    assert format_of(content) == kind
    assert format_of(content[:40]) == kind
    assert format_of(content[1:]) is None


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_postscript_never_reaches_ghostscript(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: started.append(a) or PICTURE.im)
    with pytest.raises(BadPicture):
        decode_picture(encode("EPS"), channels)
    assert not started


def test_nor_does_it_from_a_data_set_of_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")  # as where it is installed
    monkeypatch.setattr(subprocess, "check_call", lambda *a, **k: started.append(a))
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.jpg").write_bytes(encode("EPS"))
    pictures = TorchvisionPictures(ImageFolder(str(tmp_path)), 3, "torchvision:ImageFolder")
    with pytest.raises(BadPicture, match="Ghostscript"):
        pictures.read(0)
    assert not started


@pytest.mark.parametrize("kind", ["TGA", "ICO", "PCX", "SGI", "PDF", "PALM", "MSP", "DDS"])
def test_formats_without_a_name_here_are_not_opened(kind: str) -> None:
    try:
        content = encode(kind) if kind != "MSP" else b"DanM" + bytes(60)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {kind}")
    with pytest.raises(BadPicture):
        decode_picture(content)

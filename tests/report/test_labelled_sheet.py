"""Sheets of pictures with their answers, read back as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError
from swav_cli.evaluate.answer import Answer, Guess
from swav_cli.report.labelled_sheet import MOST, save_labelled


def answers(count: int, guesses: int = 3) -> list[Answer]:
    top = tuple(Guess(number, f"class {number}", 0.5 / (number + 1)) for number in range(guesses))
    return [Answer(index, f"shapes/{index}", top) for index in range(count)]


@pytest.mark.parametrize(("count", "tiles"), [(1, 1), (2, 2), (5, 3), (64, 8), (99, 8)])
def test_the_size_of_a_sheet(tmp_path: Path, count: int, tiles: int) -> None:
    path = tmp_path / "new" / "sheet.png"
    save_labelled(path, open_pictures("shapes:99"), answers(count))
    with Image.open(path) as sheet:
        assert (sheet.format, sheet.mode) == ("PNG", "RGB")
        side = {1: 480, 2: 256, 5: 256}.get(count, 170)
        assert sheet.width == 12 + tiles * (side + 12)
        assert sheet.height < 2000


def test_no_more_than_fit(tmp_path: Path) -> None:
    pictures = open_pictures("shapes:99")
    for name, count in (("a.png", MOST), ("b.png", 99)):
        save_labelled(tmp_path / name, pictures, answers(count))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_pictures_and_bars_are_on_it(tmp_path: Path) -> None:
    """The picture keeps its shape and colours; a bar is as long as its guess is likely."""
    Image.new("RGB", (40, 20), (200, 30, 40)).save(tmp_path / "red.png")
    pictures = open_pictures(str(tmp_path))
    save_labelled(tmp_path / "sheet.png", pictures, [Answer(0, "red.png", (Guess(0, None, 0.5),))])
    pixels = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert (pixels[12 : 12 + 240, 12 : 12 + 480] == (200, 30, 40)).all()
    bar = (pixels == (0xBF, 0xD7, 0xEA)).all(axis=2).sum(axis=1).max()
    assert abs(int(bar) - 240) <= 2


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_any_number_of_channels(tmp_path: Path, channels: int) -> None:
    np.save(tmp_path / "x.npy", np.full((9, 7, channels), 80, dtype=np.uint8))
    save_labelled(tmp_path / "s.png", open_pictures(str(tmp_path), channels=channels), answers(1))
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.getpixel((sheet.width // 2, 60)) == (80, 80, 80)


def test_what_can_not_be_read_or_written_with_the_font(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("<html>")
    bad = [
        Answer(0, "très/longue/" * 30 + "\x1b.png", (), error="a web page, not a picture " * 9),
        Answer(0, "x", (Guess(0, "名前" * 40, 1.0), Guess(1, "", 0.0))),
    ]
    save_labelled(tmp_path / "s.png", open_pictures(str(tmp_path)), bad)
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.width == 2 * 268 + 12


def test_a_thin_picture(tmp_path: Path) -> None:
    Image.new("L", (1, 3000)).save(tmp_path / "x.png")
    save_labelled(tmp_path / "s.png", open_pictures(str(tmp_path)), answers(1))
    assert (tmp_path / "s.png").exists()


def test_a_place_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "s.png").mkdir()
    with pytest.raises(UserError, match="can't be written"):
        save_labelled(tmp_path / "s.png", open_pictures("shapes:1"), answers(1))

"""Pictures that are named one by one: each once, in order, under the name that was given."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from swav_cli.data.inputs import open_inputs, with_channels
from swav_cli.errors import UserError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with pictures in a/ and b/, a list of two of them, and a file with a pattern as its name."""
    for name in ("a/1.png", "a/2.jpg", "b/1.png", "b/deep/3.png", "b/[1].png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), "red").save(tmp_path / name)
    (tmp_path / "a" / "notes.md").write_text("no picture")
    (tmp_path / "some.txt").write_text("b/1.png\na/1.png\ngone.png\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*inputs: str, without: Path | None = None) -> list[str]:
    pictures = open_inputs(inputs, without=without)
    return [Path(pictures.name(index)).as_posix() for index in range(len(pictures))]


def type_in(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        (["a/2.jpg"], ["a/2.jpg"]),
        (["a/2.jpg", "a/1.png"], ["a/1.png", "a/2.jpg"]),
        (["a"], ["a/1.png", "a/2.jpg"]),
        (["b", "a/"], ["a/1.png", "a/2.jpg", "b/1.png", "b/[1].png", "b/deep/3.png"]),
        (["a", "a/1.png", "./a/1.png", "b/../a/2.jpg"], ["a/1.png", "a/2.jpg"]),
        (["*/1.png"], ["a/1.png", "b/1.png"]),
        (["**/*.png"], ["a/1.png", "b/1.png", "b/[1].png", "b/deep/3.png"]),
        (["a/*"], ["a/1.png", "a/2.jpg", "a/notes.md"]),
        (["?"], ["a/1.png", "a/2.jpg", "b/1.png", "b/[1].png", "b/deep/3.png"]),
        (["b/[1].png"], ["b/[1].png"]),
        (["some.txt"], ["a/1.png", "b/1.png", "gone.png"]),
        (["some.txt", "a/1.png"], ["a/1.png", "b/1.png", "gone.png"]),
    ],
)
def test_what_is_found(inputs: list[str], found: list[str]) -> None:
    assert names(*inputs) == found


def test_absolute_names_stay_so(here: Path) -> None:
    assert names(str(here / "a" / "1.png"), "a/2.jpg") == sorted([(here / "a" / "1.png").as_posix(), "a/2.jpg"])


def test_folders_picked_by_hand_are_no_classes() -> None:
    assert open_inputs(["a/1.png", "b/1.png"]).labels is None
    assert open_inputs(["."]).classes == ["a", "b"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\0"])
def test_standard_input(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, end.join(["b", "b/1.png", "gone.png", "a/1.png", "a/1.png", ""]).encode())
    assert names("-") == ["a/1.png", "b/1.png", "gone.png"]


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are text there")
def test_names_that_are_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, b"a/\xff.png\na/two\tparts.png\n")
    assert names("-") == ["a/two\tparts.png", "a/\udcff.png"]


@pytest.mark.parametrize(("content", "message"), [(b"", "no paths"), (b"\n \n", "no paths"), (b"a\nb\n", "only fold")])
def test_nothing_on_standard_input(content: bytes, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, content)
    with pytest.raises(UserError, match=message):
        open_inputs(["-"])


def test_a_folder_of_results_is_left_out() -> None:
    assert names(".", without=Path("b/deep")) == ["a/1.png", "a/2.jpg", "b/1.png", "b/[1].png"]
    assert names("a", without=Path("b")) == ["a/1.png", "a/2.jpg"]
    assert names("**/*.png", without=Path("b")) == ["a/1.png"]
    assert names("b/deep", "a", without=Path("b")) == ["a/1.png", "a/2.jpg", "b/deep/3.png"]


def test_the_home_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    assert names("~/a", "~/b/*.png") == [str(here / name) for name in ("a/1.png", "a/2.jpg", "b/1.png", "b/[1].png")]
    assert names("~/a/1.png") == [str(here / "a/1.png")]
    type_in(monkeypatch, b"~/a/1.png\n")
    assert names("-") == [str(here / "a/1.png")]
    (here / "~").mkdir()
    assert names("~/a/1.png") == [str(here / "a/1.png")]


@pytest.mark.parametrize("given", ["x" * 300, "x" * 300 + ".csv", "x" * 300 + "/a.png", "a/" + "y" * 5000, "a\0b.png"])
def test_names_that_no_file_can_have(given: str) -> None:
    with pytest.raises(UserError, match="no such picture or folder"):
        open_inputs([given])


def test_one_file_that_is_no_picture(here: Path) -> None:
    for name, content, said in (
        ("a.pdf", b"%PDF-1.7 and so on", "a.pdf: "), ("page.jpg", b"<!doctype html>", "page.jpg: a web page"),
    ):  # fmt: skip
        (here / name).write_bytes(content)
        with pytest.raises(UserError, match=said):
            open_inputs([name])
    assert names("a/1.png", "a.pdf") == ["a.pdf", "a/1.png"]  # among others it is for the reader to report


def test_what_a_folder_passes_over_is_told(here: Path) -> None:
    for name in ("a/1.heic", "a/2.HEIC", "b/deep/x.tga", "a/plain", "a/README", "a/.hidden.heic", "a/n.json"):
        (here / name).write_bytes(b"x")
    assert open_inputs(["b"]).remarks == ["passed over, since they are not read: 1 file .tga"]
    assert open_inputs(["."]).remarks == [
        "passed over, since they are not read: 2 files .heic, 1 file .tga, 1 file without a suffix"
    ]
    assert open_inputs(["a", "b"]).remarks == [
        "passed over, since they are not read: 2 files .heic, 1 file without a suffix",
        "passed over, since they are not read: 1 file .tga",
    ]
    (here / "none").mkdir()
    (here / "none/a.heic").write_bytes(b"x")
    with pytest.raises(UserError, match=r"none: holds no pictures .*; passed over, .*: 1 file \.heic"):
        open_inputs(["none"])


def test_a_return_in_a_name_of_standard_input(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.name == "nt":
        pytest.skip("no name holds one there")
    (here / "a/1.png").rename(here / "a/1\r.png")
    type_in(monkeypatch, b"a/1\r.png\na/2.jpg\n")
    assert names("-") == ["a/1\r.png", "a/2.jpg"]
    type_in(monkeypatch, b"b/1.png\ra/2.jpg\r")
    assert names("-") == ["a/2.jpg", "b/1.png"]


def test_a_source() -> None:
    pictures = open_inputs(["shapes:3"])
    assert len(pictures) == 3
    assert with_channels(pictures, 3) is pictures
    with pytest.raises(UserError, match="has 3 channels, and the model takes 1"):
        with_channels(pictures, 1)


def test_channels_of_files() -> None:
    assert with_channels(open_inputs(["a"]), 1).read(0).shape == (1, 6, 8)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["a/1.pgn"], "a/1.pgn: no such picture or folder. Did you mean '1.png'?"),
        (["aa/1.png"], "aa/1.png: no such picture or folder."),
        (["a/*.gif"], "a/*.gif: no file has a name like that"),
        (["a", "shapes:3"], "shapes:3: can't be joined with other inputs; give it alone"),
        (["lists/gone.txt"], "lists/gone.txt: no such picture or folder."),
    ],
)
def test_what_is_not_there(inputs: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        open_inputs(inputs)
    assert str(caught.value) == message


def test_nothing_left() -> None:
    with pytest.raises(UserError, match="no pictures there"):
        open_inputs(["b/*/*.png"], without=Path("b/deep"))


def test_results_among_what_is_read() -> None:
    with pytest.raises(UserError, match="a: is read, and can't take the results as well"):
        open_inputs(["a"], without=Path("a"))

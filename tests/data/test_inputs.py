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

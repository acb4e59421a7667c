"""Pictures put into folders: every one, under a name of its own, with nothing replaced and nothing done twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from swav_cli.data.folders.own_results import SORTED
from swav_cli.data.inputs import open_inputs
from swav_cli.data.pictures import Pictures
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError
from swav_cli.evaluate.answer import Answer, Guess
from swav_cli.evaluate.sorting import Sorting, folder_names, told_apart


def answers(pictures: Pictures, clusters: int = 2) -> list[Answer]:
    """Pictures go to clusters in turn, but the third can't be read."""
    return [
        Answer(index, pictures.name(index), (), error="damaged")
        if index == 2
        else Answer(index, pictures.name(index), (Guess(index % clusters, None, 0.9), Guess(3, None, 0.1)))
        for index in range(len(pictures))
    ]


def sort(folder: Path, pictures: Pictures, copy: bool = False, clusters: int = 2) -> Sorting:
    sorting = Sorting(folder, pictures, (), 4, copy=copy)
    for answer in answers(pictures, clusters):
        sorting.place(answer)
    return sorting


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != SORTED)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def alike(tmp_path: Path) -> Pictures:
    """Five pictures of one name, two of which have the same content."""
    for number, folder in enumerate("abcde"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        (tmp_path / "in" / folder / "x.png").write_bytes(b"same" if folder in "de" else bytes([number]))
    return open_pictures(str(tmp_path / "in"))


@pytest.mark.parametrize("copy", [False, True])
def test_all_are_placed_under_names_of_their_own(tmp_path: Path, alike: Pictures, copy: bool) -> None:
    before = contents(tmp_path / "in")
    sorting = sort(tmp_path / "out", alike, copy, clusters=1)
    placed = contents(tmp_path / "out")
    assert sorted(placed.values()) == sorted([b"\0", b"\1", b"same", b"same"])
    assert "cluster-0000/x.png" in placed
    assert all(path.is_symlink() is not copy for path in (tmp_path / "out").rglob("*.png"))
    assert sorting.summary() == {
        "folder": str(tmp_path / "out"), "pictures": 4, "new": 4, "already_there": 0,
        "folders": {"cluster-0000": 4}, "empty": 3,
    }  # fmt: skip
    assert contents(tmp_path / "in") == before


@pytest.mark.parametrize("copy", [False, True])
def test_the_second_time_does_nothing(tmp_path: Path, alike: Pictures, copy: bool) -> None:
    sort(tmp_path / "out", alike, copy)
    before = {path: path.lstat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    summary = sort(tmp_path / "out", alike, copy).summary()
    assert (summary["new"], summary["already_there"]) == (0, 4)
    assert {path: path.lstat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    assert summary["folders"] == {"cluster-0000": 2, "cluster-0001": 2}


def test_one_is_told_as_one(tmp_path: Path, alike: Pictures) -> None:
    assert "4 pictures in 1 of 4 clusters; 3 clusters stay empty" in sort(tmp_path / "a", alike, clusters=1).in_words()
    assert "4 pictures in 3 of 4 clusters; 1 cluster stays empty" in sort(tmp_path / "b", alike, clusters=4).in_words()


def test_what_is_there_is_not_replaced(tmp_path: Path, alike: Pictures) -> None:
    mine = tmp_path / "out" / "cluster-0000" / "x.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    dangling = tmp_path / "out" / "cluster-0001" / "x.png"
    dangling.parent.mkdir()
    dangling.symlink_to("nowhere")
    assert sort(tmp_path / "out", alike).summary()["new"] == 4
    assert mine.read_bytes() == b"mine"
    assert os.readlink(dangling) == "nowhere"


def test_links_lead_to_the_pictures_from_anywhere(
    tmp_path: Path, alike: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sort(Path("out"), open_inputs(["in"]))
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    assert len(contents(tmp_path / "elsewhere")) == 4


def test_copies_where_links_can_not_be_made(tmp_path: Path, alike: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("not on this disk")

    monkeypatch.setattr(os, "symlink", refuse)
    told: list[str] = []
    sorting = Sorting(tmp_path / "out", alike, (), 4, notice=told.append)
    for answer in answers(alike):
        sorting.place(answer)
    assert len(told) == 1
    assert "copied" in told[0]
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))
    assert len(contents(tmp_path / "out")) == 4


def test_pictures_without_files_are_drawn(tmp_path: Path) -> None:
    pictures = open_pictures("shapes:6")
    assert sort(tmp_path / "out", pictures).summary()["new"] == 5
    assert sort(tmp_path / "out", pictures).summary()["new"] == 0
    drawn = open_pictures(str(tmp_path / "out"))
    assert drawn.classes == ["cluster-0000", "cluster-0001"]
    assert (drawn.read(0) == pictures.read(0)).all()


def test_a_folder_that_is_made_says_so_and_one_of_the_users_does_not(tmp_path: Path, alike: Pictures) -> None:
    (tmp_path / "mine" / "cluster-0001").mkdir(parents=True)
    for folder in ("new", "mine"):
        sorting = Sorting(tmp_path / folder, alike, (), 2)
        for index in range(4):
            sorting.place(Answer(index, alike.name(index), (Guess(index % 2, None, 1.0),)))
    marks = sorted(str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob(SORTED))
    assert marks == ["mine/cluster-0000", "new"]


def test_names_of_folders() -> None:
    classes = ["cat", "a/b", "a:b", "..", "", "NUL", "Bänk, groß", "x" * 300, "tail. ", "Cat"]
    names = folder_names(classes)
    assert names[1:7] == ["a_b 1", "a_b 2", "_ 3", "_ 4", "_NUL", "Bänk, groß"]
    assert (names[0], names[9]) == ("cat 0", "Cat 9")
    assert len(set(map(str.casefold, names))) == len(names)
    assert all(len(name) <= 110 and name.strip(" .") == name for name in names)


def test_a_name_that_looks_numbered() -> None:
    assert folder_names(["a/b", "a:b", "a_b 1"]) == ["0 a_b", "1 a_b", "2 a_b 1"]


def test_classes_give_their_names(tmp_path: Path, alike: Pictures) -> None:
    sorting = Sorting(tmp_path / "out", alike, ("cat", "a/b"), 2)
    sorting.place(Answer(0, alike.name(0), (Guess(1, "a/b", 0.9),)))
    assert list(contents(tmp_path / "out")) == [str(Path("a_b", "x.png"))]


def test_a_file_where_the_folder_should_be(tmp_path: Path, alike: Pictures) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match="is a file"):
        sort(tmp_path / "out", alike)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "cluster-0000").touch()
    with pytest.raises(UserError, match="can't be written"):
        sort(tmp_path / "other", alike)


def test_nothing_half_is_left(tmp_path: Path, alike: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copy2", half)
    with pytest.raises(UserError, match="No space left"):
        sort(tmp_path / "out", alike, copy=True)
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize("copy", [False, True])
def test_names_as_long_as_any_can_be(tmp_path: Path, copy: bool) -> None:
    names = ["y" * 246 + ".png", "y" * 251 + ".png", "é" * 125 + ".png"]
    for folder in "ab":
        (tmp_path / "in" / folder).mkdir(parents=True)
        for name in names:
            (tmp_path / "in" / folder / name).write_bytes(f"{folder} {name}".encode())
    pictures = open_pictures(str(tmp_path / "in"))
    for new in (6, 0):
        sorting = Sorting(tmp_path / "out", pictures, (), 2, copy=copy)
        for index in range(len(pictures)):
            sorting.place(Answer(index, pictures.name(index), (Guess(0, None, 1.0),)))
        assert sorting.summary()["new"] == new
    assert sorted(contents(tmp_path / "out").values()) == sorted(contents(tmp_path / "in").values())
    assert all(name.endswith(".png") and "/." not in name for name in contents(tmp_path / "out"))


@pytest.mark.parametrize(
    "name", ["bird.png", "y" * 255, "y." + "z" * 253, "é" * 120 + ".jpeg", "." + "y" * 254, "日本" * 42 + ".tif"]
)
def test_digits_fit_into_a_name(name: str) -> None:
    apart = told_apart(name, "0" * 32)
    assert len(os.fsencode(apart)) <= 255
    assert apart.endswith(("0" * 32, f"{'0' * 32}{os.path.splitext(name)[1][:20]}"))


def test_what_another_process_puts_there_meanwhile_is_kept(
    tmp_path: Path, alike: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commands sort different pictures of one name into one folder."""
    theirs = tmp_path / "out" / "cluster-0000" / "x.png"
    make = Sorting._make

    def after_the_other(self: Sorting, target: Path, source: Path | bytes) -> None:
        if target == theirs:
            theirs.write_bytes(b"theirs")
        make(self, target, source)

    monkeypatch.setattr(Sorting, "_make", after_the_other)
    sorting = Sorting(tmp_path / "out", alike, (), 1, copy=True)
    sorting.place(Answer(0, alike.name(0), (Guess(0, None, 1.0),)))
    assert sorted(contents(tmp_path / "out").values()) == [b"\0", b"theirs"]


def test_folders_of_classes_with_long_names_can_be_made(tmp_path: Path) -> None:
    for name in folder_names(["日" * 150, "日" * 150 + "本", "a" * 300]):
        (tmp_path / name).mkdir()

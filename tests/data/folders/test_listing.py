"""Pictures found below a folder: which, in which order, and what is read again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from swav_cli.data.folders.listing import Listing, read_listing
from swav_cli.data.folders.path_table import PathTable

SUFFIXES = frozenset({".jpg", ".png"})


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def names_below(root: Path) -> list[str]:
    return list(read_listing(root, SUFFIXES).paths)


def test_nested_and_in_any_case(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPG", "a.png", "x/y/z/deep.Jpg", "x/text.txt", "x/none", "x.jpg/inside.png", "jpg", ".jpg/a.txt")
    assert names_below(tmp_path) == ["a.png", "b.JPG", "x.jpg/inside.png", "x/y/z/deep.Jpg"]


def test_hidden_entries_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, ".hidden.jpg", ".git/a.jpg", "a/.thumbnails/b.jpg", "a/._c.jpg", "a/d.jpg", ".jpg")
    assert names_below(tmp_path) == ["a/d.jpg"]
    assert names_below(tmp_path / ".git") == ["a.jpg"]  # but what is asked for is asked for


def test_links_are_followed(tmp_path: Path) -> None:
    touch(tmp_path, "store/one/a.jpg", "store/b.jpg", "data/own.jpg")
    (tmp_path / "data/linked").symlink_to(tmp_path / "store", target_is_directory=True)
    (tmp_path / "data/c.jpg").symlink_to(tmp_path / "store/b.jpg")
    expected = ["c.jpg", "linked/b.jpg", "linked/one/a.jpg", "own.jpg"]
    assert names_below(tmp_path / "data") == expected
    (tmp_path / "whole").symlink_to(tmp_path / "data", target_is_directory=True)
    assert names_below(tmp_path / "whole") == expected


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.jpg", "b/y.jpg")
    (tmp_path / "a/up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a/self").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "b/a").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    assert names_below(tmp_path) == ["a/x.jpg", "b/y.jpg", "loop.jpg"]


def test_a_folder_goes_by_its_own_name(tmp_path: Path) -> None:
    touch(tmp_path, "real/x.jpg")
    (tmp_path / "alias").symlink_to(tmp_path / "real", target_is_directory=True)
    assert names_below(tmp_path) == ["real/x.jpg"]


def test_a_link_that_leads_nowhere_is_listed_for_the_reader_to_report(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    assert names_below(tmp_path) == ["gone.jpg"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert names_below(tmp_path) == []


def test_deep_folders(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 300)
    touch(deep, "a.jpg")
    assert names_below(tmp_path) == ["d/" * 300 + "a.jpg"]


# --- order --------------------------------------------------------------------------------------------------------

AWKWARD = [
    *("a-b/1.jpg", "a/1.jpg", "a.b/1.jpg", "a0/1.jpg", "a/b/1.jpg", "a/b-c/1.jpg", "a/b.jpg", "a/b-.jpg", "a/b0.jpg"),
    *("a.jpg", "a-.jpg", "a0.jpg", "A/1.jpg", "z/9.jpg", "z/10.jpg", "z/!/x.jpg", "z.jpg/z.jpg", "z.jpg-/z.jpg"),
    *("ü/é.jpg", "u\u0308/e.jpg", "日本/猫.jpg", "日本.jpg", "\ue000.jpg", "😀/😀.jpg", "😀.jpg", "\ufffd.jpg"),
    *(os.fsdecode(name) for name in (b"odd-\xff/\xfe.jpg", b"\xff.jpg", b"\xff-.jpg", b"\x80/a.jpg", b"odd-\xc3.jpg")),
]


def test_the_order_is_that_of_whole_names(tmp_path: Path) -> None:
    touch(tmp_path, *AWKWARD)
    found = read_listing(tmp_path, SUFFIXES)
    assert list(found.paths) == sorted(AWKWARD)
    assert found.paths.digest() == PathTable(sorted(AWKWARD)).digest()
    for number, start, stop in found.runs:
        prefix = found.folders[number].prefix
        assert {name.rpartition("/")[0] for name in list(found.paths)[start:stop]} == {prefix[:-1]}


def test_the_order_of_names_drawn_at_random(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    letters = list("a-./0b").copy()
    letters.remove("/")
    for trial in range(20):
        root = tmp_path / str(trial)
        names = set()
        for _ in range(30):
            parts = ["x" + "".join(rng.choice(letters, rng.integers(0, 3))) for _ in range(rng.integers(1, 4))]
            names.add("/".join(parts) + ".jpg")
        touch(root, *names)
        assert names_below(root) == sorted(names)


def test_tops_follow_the_names(tmp_path: Path) -> None:
    touch(tmp_path, *AWKWARD)
    found = read_listing(tmp_path, SUFFIXES)
    tops, counts = found.tops()
    plain = [name.split("/", 1)[0] if "/" in name else "" for name in found.paths]
    assert [top for top, count in zip(tops, counts, strict=True) for _ in range(count)] == plain


# --- what is read again -------------------------------------------------------------------------------------------


@pytest.fixture
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders count as settled a moment after a change, which the tests' own waits are longer than."""
    monkeypatch.setattr("swav_cli.data.folders.listing.SETTLED", 20_000_000)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that are read, as they are."""
    entered: list[str] = []
    scandir = os.scandir

    def noting(path: object) -> object:
        entered.append(Path(str(path)).name)
        return scandir(str(path))

    monkeypatch.setattr("swav_cli.data.folders.listing.os.scandir", noting)
    return entered


def settle() -> None:
    time.sleep(0.05)


def tree(root: Path) -> Path:
    touch(root, "root/a/1.jpg", "root/a/2.jpg", "root/b/c/3.jpg", "root/b/4.jpg", "other/5.jpg", "root/6.jpg")
    (root / "root/z").symlink_to(root / "other", target_is_directory=True)
    return root / "root"


@pytest.mark.usefixtures("settled_at_once")
def test_unchanged_folders_are_not_read_again(tmp_path: Path, read: list[str]) -> None:
    root = tree(tmp_path)
    settle()
    first = read_listing(root, SUFFIXES)
    assert sorted(read) == ["a", "b", "c", "root", "z"]
    read.clear()
    assert read_listing(root, SUFFIXES, first) is first
    assert read == []


CHANGES: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "a file comes": (lambda root: touch(root, "a/0.jpg"), {"a"}),
    "a file goes": (lambda root: (root / "b/c/3.jpg").unlink(), {"c"}),
    "a file is renamed": (lambda root: (root / "b/4.jpg").rename(root / "b/c.jpg"), {"b"}),
    "a file is moved": (lambda root: (root / "b/4.jpg").rename(root / "a/4.jpg"), {"a", "b"}),
    "a folder comes": (lambda root: touch(root, "a/1-/x.jpg"), {"a", "1-"}),
    "a folder is renamed": (lambda root: (root / "b").rename(root / "a-"), {"root", "a-", "c"}),
    "a link's folder changes": (lambda root: touch(root.parent, "other/7.jpg"), {"z"}),
    "a link is gone": (lambda root: (root / "z").unlink(), {"root"}),
    "a link leads elsewhere": (
        lambda root: ((root / "z").unlink(), (root / "z").symlink_to(root / "a")),
        {"root"},
    ),
}


@pytest.mark.usefixtures("settled_at_once")
@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_read_again_and_nothing_else(change: str, tmp_path: Path, read: list[str]) -> None:
    root = tree(tmp_path)
    settle()
    first = read_listing(root, SUFFIXES)
    make, expected = CHANGES[change]
    make(root)
    read.clear()
    second = read_listing(root, SUFFIXES, first)
    assert set(read) == expected
    anew = read_listing(root, SUFFIXES)
    assert list(second.paths) == list(anew.paths)
    assert list(second.paths) != list(first.paths)
    assert second.runs == anew.runs


@pytest.mark.usefixtures("settled_at_once")
def test_a_links_folder_is_gone(tmp_path: Path) -> None:
    root = tree(tmp_path)
    settle()
    first = read_listing(root, SUFFIXES)
    (tmp_path / "other").rename(tmp_path / "elsewhere")
    assert "z/5.jpg" not in list(read_listing(root, SUFFIXES, first).paths)


@pytest.mark.usefixtures("settled_at_once")
def test_a_link_that_leads_nowhere_yet_is_looked_at_each_time(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "disk").symlink_to(tmp_path / "not-there-yet")
    settle()
    first = read_listing(root, SUFFIXES)
    touch(tmp_path, "not-there-yet/8.jpg")
    assert "disk/8.jpg" in list(read_listing(root, SUFFIXES, first).paths)


def test_a_folder_that_has_just_changed_is_not_trusted(tmp_path: Path, read: list[str]) -> None:
    """What comes within the same tick of the file system's clock leaves no trace in a folder's times."""
    root = tree(tmp_path)
    first = read_listing(root, SUFFIXES)
    assert {folder.stamp for folder in first.folders} == {None}
    read.clear()
    second = read_listing(root, SUFFIXES, first)
    assert len(read) == 5
    assert list(second.paths) == list(first.paths)


@pytest.mark.usefixtures("settled_at_once")
def test_devices_that_do_not_tell_are_not_trusted(tmp_path: Path) -> None:
    root = tree(tmp_path)
    settle()

    def stamps(found: Listing) -> set[object]:
        return {folder.stamp is None for folder in found.folders}

    assert stamps(read_listing(root, SUFFIXES)) == {False}
    assert stamps(read_listing(root, SUFFIXES, silent=frozenset({os.stat(root).st_dev}))) == {True}

"""Names of files: kept in little memory, and found below a folder."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from swav_cli.data.paths import PathTable, find_files

SUFFIXES = frozenset({".jpg", ".png"})


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


NAMES = ["a.jpg", "b/ü 1.png", "", "日本/猫.jpg", os.fsdecode(b"odd-\xff\xfe.jpg")]


def test_a_table_is_its_list() -> None:
    table = PathTable(NAMES)
    assert list(table) == NAMES
    assert len(table) == 5
    assert [table[-1], table[-5]] == [NAMES[-1], NAMES[0]]
    assert list(pickle.loads(pickle.dumps(table))) == NAMES
    assert len(PathTable([])) == 0
    for outside in (5, -6):
        with pytest.raises(IndexError):
            table[outside]


def test_a_digest_changes_with_any_name() -> None:
    digests = {PathTable(names).digest() for names in (["ab", "c"], ["a", "bc"], ["abc"], ["c", "ab"], [])}
    assert len(digests) == 5
    assert PathTable(NAMES).digest() == PathTable(list(NAMES)).digest()


def test_nested_and_in_any_case(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPG", "a.png", "x/y/z/deep.Jpg", "x/text.txt", "x/none", "x.jpg/inside.png", "jpg", ".jpg/a.txt")
    assert find_files(tmp_path, SUFFIXES) == ["a.png", "b.JPG", "x.jpg/inside.png", "x/y/z/deep.Jpg"]


def test_hidden_entries_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, ".hidden.jpg", ".git/a.jpg", "a/.thumbnails/b.jpg", "a/._c.jpg", "a/d.jpg", ".jpg")
    assert find_files(tmp_path, SUFFIXES) == ["a/d.jpg"]
    assert find_files(tmp_path / ".git", SUFFIXES) == ["a.jpg"]  # but what is asked for is asked for


def test_links_are_followed(tmp_path: Path) -> None:
    touch(tmp_path, "store/one/a.jpg", "store/b.jpg", "data/own.jpg")
    (tmp_path / "data/linked").symlink_to(tmp_path / "store", target_is_directory=True)
    (tmp_path / "data/c.jpg").symlink_to(tmp_path / "store/b.jpg")
    expected = ["c.jpg", "linked/b.jpg", "linked/one/a.jpg", "own.jpg"]
    assert find_files(tmp_path / "data", SUFFIXES) == expected
    (tmp_path / "whole").symlink_to(tmp_path / "data", target_is_directory=True)
    assert find_files(tmp_path / "whole", SUFFIXES) == expected


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.jpg", "b/y.jpg")
    (tmp_path / "a/up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a/self").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "b/a").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    assert find_files(tmp_path, SUFFIXES) == ["a/x.jpg", "b/y.jpg", "loop.jpg"]


def test_a_folder_goes_by_its_own_name(tmp_path: Path) -> None:
    touch(tmp_path, "real/x.jpg")
    (tmp_path / "alias").symlink_to(tmp_path / "real", target_is_directory=True)
    assert find_files(tmp_path, SUFFIXES) == ["real/x.jpg"]


def test_a_link_that_leads_nowhere_is_listed_for_the_reader_to_report(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    assert find_files(tmp_path, SUFFIXES) == ["gone.jpg"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert find_files(tmp_path, SUFFIXES) == []


def test_deep_folders(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 300)
    touch(deep, "a.jpg")
    assert find_files(tmp_path, SUFFIXES) == ["d/" * 300 + "a.jpg"]

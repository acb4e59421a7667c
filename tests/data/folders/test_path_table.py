"""Names of files in little memory."""

from __future__ import annotations

import os
import pickle

import pytest

from swav_cli.data.folders.path_table import PathTable

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


def test_a_digest_is_what_runs_have_recorded() -> None:
    """A run goes on only where the digest of its pictures is what it was when the run began."""
    assert PathTable(NAMES).digest() == "0d946f42fcf1bc6a39e4a2bf2e50b2c5998fa57e289095fa0259fa07f125d846"


def test_names_from_the_root() -> None:
    for names, are in ((["/a", "/b/c"], True), (["/a", "b"], False), (["/a", ""], False), (["a/b", "/c"], False)):
        assert PathTable(names).are_from_the_root() is are
    assert PathTable(["x", "/a", "/b"]).part(1, 3).are_from_the_root()


@pytest.mark.parametrize(
    ("names", "folder"),
    [
        ([], ""), (["a.jpg"], ""), (["x/a.jpg"], "x/"), (["x/a", "x/b/c"], "x/"), (["x/y/a", "x/yz/a"], "x/"),
        (["x/a", "y/a"], ""), (["x/a", "x"], ""), (["/a", "/b"], "/"), (["../ü/a", "../ü/b"], "../ü/"),
        (["ü/a", "û/a"], ""), (["x/a", "/x/a"], ""), (["x/a", ""], ""),
    ],
)  # fmt: skip
def test_the_folder_in_which_all_names_lie(names: list[str], folder: str) -> None:
    for table in (PathTable(names), PathTable(["zz", *names, "z"]).part(1, 1 + len(names))):
        assert table.common_folder() == len(folder.encode())
        below = table.without(table.common_folder())
        assert list(below) == [name[len(folder) :] for name in names]
        assert below.digest() == PathTable(list(below)).digest()


def test_parts_and_joins() -> None:
    table = PathTable(NAMES)
    for start in range(6):
        for stop in range(start, 6):
            part = table.part(start, stop)
            assert list(part) == NAMES[start:stop]
            assert part.digest() == PathTable(NAMES[start:stop]).digest()
            assert list(PathTable.from_arrays(*part.arrays())) == NAMES[start:stop]
            assert list(pickle.loads(pickle.dumps(part))) == NAMES[start:stop]
    again = PathTable.joined([table.part(0, 2), table.part(2, 2), PathTable([]), table.part(2, 5)])
    assert list(again) == NAMES
    assert again.digest() == table.digest()
    assert list(PathTable.joined([])) == []


@pytest.mark.parametrize("prefix", ["", "a/ü/"])
@pytest.mark.parametrize("names", [[], ["a.jpg"], ["b", "ü 1.png", os.fsdecode(b"odd-\xff\xfe.jpg")]])
def test_a_folders_names_are_encoded_at_once(prefix: str, names: list[str]) -> None:
    table, plain = PathTable.of_folder(prefix, names), PathTable([prefix + name for name in names])
    assert list(table) == list(plain)
    assert table.digest() == plain.digest()

"""Which files of pictures are named, in which order, under which names; and several of them as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from swav_cli.data.shard_files import Joined, find_shard_files, open_shard_file
from swav_cli.errors import UserError
from tests.data.lists.test_record_pictures import as_datasets, levels, write
from tests.data.tars import sample_tar


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sample_tar(Path("data/b.tar"), 2)
    sample_tar(Path("data/deep/a.tar"), 3, first=10)
    write("data/x-00000.parquet", as_datasets(20, 4))


def test_folders_patterns_and_files_name_the_same() -> None:
    found = find_shard_files(["data"], Path("feats"))
    assert [each.path for each in found] == ["data/b.tar", "data/deep/a.tar", "data/x-00000.parquet"]
    assert [each.name for each in found] == ["b.tar", "deep/a.tar", "x-00000.parquet"]
    assert [each.size for each in found] == [Path(each.path).stat().st_size for each in found]
    given = ["./data/x-*.parquet", "data/deep/*.tar", "data/{b,b}.tar"]
    assert [each.name for each in find_shard_files(given, Path("feats"))] == [each.name for each in found]


def test_results_are_no_pictures() -> None:
    write("data/feats/part-000000.parquet", as_datasets(0, 1))
    assert len(find_shard_files(["data"], Path("data/feats"))) == 3
    with pytest.raises(UserError, match="no shards there but those of"):
        find_shard_files(["data/feats"], Path("data/feats"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("data/c.tar", "no such shard. Did you mean 'b.tar'"),
        ("data/y-00000.parquet", "no such file. Did you mean 'x-00000.parquet'"),
        ("nowhere", "no such file or folder"),
        ("https://host/a.tar", "shards are read from the disk"),
        (".", "holds no shards"),
        ("data/b.txt", "no such file or folder"),
    ],
)
def test_what_can_not_be_taken_is_told(given: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if given == ".":
        Path("empty").mkdir()
        monkeypatch.chdir("empty")
    with pytest.raises(UserError, match=message):
        find_shard_files([given], Path("feats"))


def test_several_files_as_one() -> None:
    parts = [open_shard_file(each.path, 3) for each in find_shard_files(["data"], Path("feats"))]
    joined = Joined(parts)
    assert len(joined) == 9
    assert levels(joined) == [0, 1, 10, 11, 12, 20, 21, 22, 23]
    assert [joined.name(index) for index in (1, 2, 8)] == [
        "data/b.tar/0001.png", "data/deep/a.tar/0010.png", "data/x-00000.parquet/000003",
    ]  # fmt: skip

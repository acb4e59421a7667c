"""Listings kept between starts: the same pictures as without, whatever has happened to the folder or to the file."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swav_cli.data.folders import kept_listing
from swav_cli.data.folders.file_pictures import FilePictures
from swav_cli.data.folders.kept_listing import file_systems, list_folder, load_listing, save_listing
from swav_cli.data.folders.listing import read_listing
from swav_cli.data.sources import open_pictures

SUFFIXES = frozenset({".jpg"})
NAMES = ["a/1.jpg", "a/b/2.jpg", "a/c.jpg", "a-/3.jpg", "ü/4.jpg", os.fsdecode(b"\xff/\xfe.jpg")]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where listings are kept, from three pictures on and as soon as a folder is a moment old."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(kept_listing, "KEPT_FROM", 3)
    monkeypatch.setattr("swav_cli.data.folders.listing.SETTLED", 20_000_000)
    return tmp_path / "cache/swav/listings"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pictures" / name).touch()
    time.sleep(0.05)
    return tmp_path / "pictures"


def names(root: Path) -> list[str]:
    return list(list_folder(root, SUFFIXES).paths)


def nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise AssertionError(f"{path} is read")

    monkeypatch.setattr("swav_cli.data.folders.listing.os.scandir", refuse)


def test_the_second_time_no_folder_is_read(kept: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_pictures(str(pictures))
    assert isinstance(first, FilePictures)
    assert len(list(kept.iterdir())) == 1
    nothing_is_read(monkeypatch)
    second = open_pictures(str(pictures))
    assert isinstance(second, FilePictures)
    assert list(first.paths) == list(second.paths) == sorted(NAMES)
    assert first.fingerprint() == second.fingerprint() == FilePictures(pictures, sorted(NAMES), 3, "").fingerprint()
    assert first.classes == second.classes == ["a", "a-", "ü", os.fsdecode(b"\xff")]
    assert first.labels is not None
    assert second.labels is not None
    assert first.labels.tolist() == second.labels.tolist() == [1, 0, 0, 0, 2, 3]


def test_by_whichever_path_it_is_named(
    kept: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names(pictures)
    monkeypatch.chdir(tmp_path)
    nothing_is_read(monkeypatch)
    assert names(Path("pictures")) == sorted(NAMES)


def test_a_change_is_seen_and_kept(kept: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names(pictures)
    (pictures / "a/0.jpg").touch()
    time.sleep(0.05)
    expected = sorted([*NAMES, "a/0.jpg"])
    assert names(pictures) == expected
    nothing_is_read(monkeypatch)
    assert names(pictures) == expected


def test_folders_that_were_too_young_are_kept_once_they_are_old(
    kept: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "ü/5.jpg").touch()
    names(pictures)
    time.sleep(0.05)
    names(pictures)
    nothing_is_read(monkeypatch)
    assert len(names(pictures)) == 7


def test_what_is_never_trusted_is_not_written_again(kept: Path, pictures: Path) -> None:
    (pictures / "a/disk").symlink_to("nowhere")
    time.sleep(0.05)
    names(pictures)
    (file,) = kept.iterdir()
    before = file.stat()
    assert names(pictures) == sorted(NAMES)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_small_folder_is_not_kept(kept: Path, pictures: Path) -> None:
    for name in NAMES[2:]:
        (pictures / name).unlink()
    names(pictures)
    assert not kept.exists()


def test_a_damaged_file_is_replaced(kept: Path, pictures: Path) -> None:
    names(pictures)
    (file,) = kept.iterdir()
    whole = file.read_bytes()
    assert load_listing(file, {}) is not None
    damaged = [
        b"",
        whole[:-1],
        whole + b"\0",
        b"swav listing 2" + whole[14:],
        b"\0" * len(whole),
        b"swav listing 1 9 x\n",
    ]
    for position in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[position] ^= 4
        damaged.append(bytes(changed))
        damaged.append(whole[:position])
    passed_over = 0
    for content in damaged:
        file.write_bytes(content)
        found = load_listing(file, {})
        assert found is None or list(found.paths) == sorted(NAMES)  # a bit of the padding
        passed_over += found is None
    assert passed_over > len(damaged) - 12
    file.write_bytes(whole[:-1])
    assert names(pictures) == sorted(NAMES)
    assert load_listing(file, {}) is not None


@pytest.mark.parametrize("remote", [False, True])
def test_what_is_mapped_outlives_its_replacement(remote: bool, kept: Path, pictures: Path) -> None:
    """Another process may write a newer listing at any moment."""
    names(pictures)
    (file,) = kept.iterdir()
    systems = {os.stat(file).st_dev: "nfs4" if remote else "ext4"}
    found = load_listing(file, systems)
    assert found is not None
    (pictures / NAMES[0]).unlink()
    save_listing(file, read_listing(pictures, SUFFIXES))
    assert list(found.paths) == sorted(NAMES)
    assert len(list(kept.iterdir())) == 1, "nothing is left beside it"


def test_a_cache_folder_that_cannot_be_written(
    kept: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").touch()  # where a folder ought to be
    assert names(pictures) == sorted(NAMES)

    (tmp_path / "cache").unlink()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_listing.os, "replace", full)
    assert names(pictures) == sorted(NAMES)
    assert list(kept.iterdir()) == []


def test_processes_at_once(kept: Path, pictures: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from swav_cli.data.folders import kept_listing, listing\n"
        "kept_listing.KEPT_FROM, listing.SETTLED = 3, 20_000_000\n"
        "for _ in range(30):\n"
        "    for file in Path(sys.argv[2]).glob('*'): file.unlink(missing_ok=True)\n"
        "    assert len(kept_listing.list_folder(Path(sys.argv[1]), frozenset({'.jpg'})).paths) == 6\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(pictures), str(kept)]) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]


def test_file_systems(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "40 22 0:52 / /mnt/with\\040space rw shared:7 master:3 - nfs4 server:/x rw,vers=4.2\n"
        "41 22 0:60 / /bucket rw - fuse.s3fs s3fs rw\n"
    )
    assert file_systems(str(table)) == {
        os.makedev(8, 1): "ext4", os.makedev(0, 52): "nfs4", os.makedev(0, 60): "fuse.s3fs",
    }  # fmt: skip
    assert file_systems(str(tmp_path / "none")) == {}


def test_a_folder_shown_by_a_program_is_read_each_time(
    kept: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_listing, "file_systems", lambda: {os.stat(pictures).st_dev: "fuse.s3fs"})
    names(pictures)
    times = os.stat(pictures / "a")
    (pictures / "a/0.jpg").touch()
    os.utime(pictures / "a", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert len(names(pictures)) == 7


def test_ten_million_names_need_no_object_each(kept: Path) -> None:
    """Labels and the fingerprint of many names come from arrays: nothing goes through them one by one."""

    class Counted(kept_listing.PathTable):
        def __getitem__(self, index: int) -> Any:  # type: ignore[override]
            raise AssertionError("a name is looked at")

    block = np.full(3_000_000, ord("x"), np.uint8)
    table = Counted.from_arrays(block, np.arange(3_000_001, dtype=np.int64))
    found = FilePictures(Path(), table, 3, "", ["b", "a"], np.array([1_000_000, 2_000_000]))
    assert found.fingerprint()
    assert found.labels is not None
    assert np.bincount(found.labels).tolist() == [2_000_000, 1_000_000]

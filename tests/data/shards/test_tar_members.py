"""Tars to their true end, and links in them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from swav_cli.data.shards.index import ShardIndex, index_of
from swav_cli.data.shards.pictures import classes_of, remarks_on
from swav_cli.data.shards.tar_members import Forward
from swav_cli.errors import UserError
from tests.data.tars import make_links, make_tar, png, sample_tar

PICTURE = png(1)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def content(index: ShardIndex, number: int) -> bytes:
    offset, size = int(index.offsets[number]), int(index.sizes[number])
    return Path(index.shard.path).read_bytes()[offset : offset + size]


def labels(index: ShardIndex) -> list[str] | None:
    """The class of each picture."""
    named = classes_of([index])
    return None if named is None else [named[1][number] for number in named[0]]


# --- the end ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [(8,), (5, 3), (1, 6, 1), (0, 8), (8, 0, 0)])
@pytest.mark.parametrize("padding", [0, 512, 10_240, 1 << 18])
def test_tars_that_were_joined_are_read_to_the_end(parts: tuple[int, ...], padding: int, here: Path) -> None:
    whole, first = b"", 0
    for number, count in enumerate(parts):
        part = sample_tar(here / f"{number}.tar", count, first=first)
        whole, first = whole + part.read_bytes() + bytes(padding), first + count
    (here / "x.tar").write_bytes(whole)
    index = index_of("x.tar")
    assert list(index.names) == [f"{number:04d}.png" for number in range(8)]
    assert [content(index, number) for number in range(8)] == [png(number) for number in range(8)]
    assert labels(index) == [str(number % 3) for number in range(8)]


@pytest.mark.parametrize("behind", [b"x", b"x" * 511, bytes(511) + b"x", b"x" * 300_000, bytes(700) + PICTURE * 40])
def test_what_is_no_tar_behind_the_end_is_damage(behind: bytes, here: Path) -> None:
    path = sample_tar(here / "x.tar", 3)
    path.write_bytes(path.read_bytes() + behind)
    with pytest.raises(UserError, match=r"x.tar: is damaged after 6 members \(no header at byte [0-9,]+ of [0-9,]+\)"):
        index_of(str(path))


@pytest.mark.parametrize("which", range(3))
def test_a_header_of_zeros_is_damage(which: int, here: Path) -> None:
    path = make_tar(here / "x.tar", {f"{number}.png": PICTURE for number in range(3)})
    data = bytearray(path.read_bytes())
    data[1024 * which : 1024 * which + 512] = bytes(512)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"no header at byte"):
        index_of(str(path))


def test_names_that_come_again_in_joined_tars_are_told(here: Path) -> None:
    data = [sample_tar(here / f"{number}.tar", 3).read_bytes() for number in range(2)]
    (here / "x.tar").write_bytes(b"".join(data))
    index = index_of("x.tar")
    assert (len(index), index.again) == (3, 3)
    assert remarks_on([index]) == ["3 names come again in the same tar; the last picture of each counts"]
    assert index_of("x.tar").again == 3  # as it is kept


# --- links --------------------------------------------------------------------------------------------------------


def test_links_have_the_data_of_what_they_lead_to(here: Path) -> None:
    index = index_of(str(make_links(here / "x.tar")))
    found = {name: content(index, number) for number, name in enumerate(index.names)}
    levels = {
        "a.png": 1, "before.png": 3, "b.png": 2, "chain.png": 1, "deep/up.png": 1, "hard.png": 1, "soft.png": 2,
        "via.png": 4, "z/c.png": 3, "late.png": 3,
    }  # fmt: skip
    assert list(found) == list(levels)
    assert found == {name: png(level) for name, level in levels.items()}
    assert sorted(index.lost.tolist()) == ["loop.png", "out.png", "root.png"]
    assert not index_of("x.tar").is_new
    assert index_of("x.tar").lost.tolist() == index.lost.tolist()
    assert remarks_on([index]) == [
        f"3 links that lead out of their tar, or files with holes: passed over, first {here}/x.tar/loop.png"
    ]


def test_a_class_that_is_a_link(here: Path) -> None:
    with tarfile.open(here / "x.tar", "w") as tar:
        for name, data in (("a.png", PICTURE), ("b.png", PICTURE), ("b.cls", "a.cls"), ("a.cls", b"dog")):
            member = tarfile.TarInfo(name)
            if isinstance(data, str):
                member.type, member.linkname = tarfile.SYMTYPE, data
                tar.addfile(member)
            else:
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    assert labels(index_of("x.tar")) == ["dog", "dog"]


def test_a_file_that_takes_a_links_name_counts(here: Path) -> None:
    with tarfile.open(here / "x.tar", "w") as tar:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "gone.png"
        tar.addfile(link)
        member = tarfile.TarInfo("a.png")
        member.size = len(PICTURE)
        tar.addfile(member, io.BytesIO(PICTURE))
    index = index_of("x.tar")
    assert (content(index, 0), index.lost.tolist(), index.again) == (PICTURE, [], 0)


# --- streams ------------------------------------------------------------------------------------------------------


class Trickle(io.BytesIO):
    """Gives no more than three bytes at a time, as a pipe may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(3 if size is None or size < 0 else min(size, 3))


def test_a_stream_goes_forward_and_back_into_what_was_read_last() -> None:
    stream = Forward(Trickle(bytes(range(100))))
    assert stream.read(10) == bytes(range(10))
    stream.seek(4)
    assert (stream.tell(), stream.read(3)) == (4, bytes((4, 5, 6)))
    stream.seek(5)
    assert stream.read(10) == bytes(range(5, 15))
    stream.seek(90)
    assert stream.read() == bytes(range(90, 100))
    assert (stream.read(5), stream.tell()) == (b"", 100)
    with pytest.raises(OSError, match="can't go back"):
        stream.seek(50)

"""What a tar holds, and the index that is kept of it: made once, and anew where it does not fit."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import tarfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swav_cli.data.shards import index as tar_index
from swav_cli.data.shards import members as tar_samples
from swav_cli.data.shards.index import ShardIndex, index_of, places
from swav_cli.data.shards.pictures import classes_of, index_shards, remarks_on, unlabelled_in
from swav_cli.data.shards.stream_members import read_shard
from swav_cli.errors import UserError
from tests.data.tars import make_tar, png, sample_tar


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def index_with(members: Mapping[str, bytes], path: str = "x.tar", **options: Any) -> ShardIndex:
    return index_of(str(make_tar(Path(path), members, **options)))


def labels(index: ShardIndex) -> list[str] | None:
    """The class of each picture."""
    named = classes_of([index])
    return None if named is None else [named[1][number] for number in named[0]]


PICTURE = png(1)

# --- samples ------------------------------------------------------------------------------------------------------

SAMPLES: dict[str, tuple[dict[str, bytes], list[str], list[str] | None]] = {
    "a class beside each": (
        {"0.jpg": PICTURE, "0.cls": b"3", "1.jpg": PICTURE, "1.cls": b" 12\n"}, ["0.jpg", "1.jpg"], ["3", "12"],
    ),
    "in any order": (
        {"b.cls": b"x", "a.jpg": PICTURE, "b.jpg": PICTURE, "a.cls": b"y"}, ["a.jpg", "b.jpg"], ["y", "x"],
    ),
    "in any case": ({"a.JPEG": PICTURE, "a.CLS": b"x", "b.Png": PICTURE, "b.cls": b"y"}, ["a.JPEG", "b.Png"], [*"xy"]),
    "JSON": (
        {
            "a.jpg": PICTURE, "a.json": b'{"label": 7}', "b.jpg": PICTURE, "b.json": b'{"class": "dog", "x": [1]}',
            "c.jpg": PICTURE, "c.json": b'{"label": 1}', "c.cls": b"2", "d.jpg": PICTURE, "d.json": b'{"label": 3.0}',
            "e.jpg": PICTURE, "e.json": b'{"label": null, "class": "cat"}',
        },
        ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"], ["7", "dog", "2", "3", "cat"],
    ),
    "JSON of other things": ({"k/a.jpg": PICTURE, "k/a.json": b'{"caption": "a dog"}'}, ["k/a.jpg"], ["k"]),
    "JSON that says nothing": (
        {
            f"{number}.{end}": content
            for number, told in enumerate(
                (b"{", b"[]", b'{"label": null}', b'{"label": [1]}', b'{"label": true}', b'{"label": 1.5}', b"\xff",
                 b'{"label": "  "}', b"[" * 100_000, b'{"label": -1}')
            )
            for end, content in (("jpg", PICTURE), ("json", told))
        },
        [f"{number}.jpg" for number in range(10)], None,
    ),
    "one without a class": ({"a.jpg": PICTURE, "a.cls": b"1", "b.jpg": PICTURE}, ["a.jpg", "b.jpg"], None),
    "one without a class, in folders": (
        {"k/a.jpg": PICTURE, "k/a.cls": b"1", "k/b.jpg": PICTURE}, ["k/a.jpg", "k/b.jpg"], None,
    ),
    "what marks no class": ({"a.jpg": PICTURE, "a.cls": b"-1"}, ["a.jpg"], None),
    "an empty class": ({"a.jpg": PICTURE, "a.cls": b""}, ["a.jpg"], None),
    "no class but a text": ({"a.jpg": PICTURE, "a.cls": b"x" * 1001}, ["a.jpg"], None),
    "a class in lines": ({"a.jpg": PICTURE, "a.cls": b"great\n grey\0owl\xff\n"}, ["a.jpg"], ["great grey owl\ufffd"]),
    "a number of no size": ({"a.jpg": PICTURE, "a.cls": b"9" * 900}, ["a.jpg"], ["9" * 900]),
    "a class by itself": ({"a.jpg": PICTURE, "a.cls": b"1", "b.cls": b"2"}, ["a.jpg"], ["1"]),
    "folders": (
        {"dog/a.jpg": PICTURE, "cat/b.jpg": PICTURE, "dog/deep/c.jpg": PICTURE},
        ["dog/a.jpg", "cat/b.jpg", "dog/deep/c.jpg"], ["dog", "cat", "dog"],
    ),
    "folders below ./": ({"./dog/a.jpg": PICTURE, ".//cat/b.jpg": PICTURE}, ["dog/a.jpg", "cat/b.jpg"], ["dog", "cat"]),
    "one in no folder": ({"dog/a.jpg": PICTURE, "b.jpg": PICTURE}, ["dog/a.jpg", "b.jpg"], None),
    "a folder in no known writing": ({"\udcff/a.jpg": PICTURE}, ["\udcff/a.jpg"], ["\udcff"]),
    "above": ({"dog/a.jpg": PICTURE, "../b.jpg": PICTURE}, ["dog/a.jpg", "../b.jpg"], None),
    "from the root": ({"dog/a.jpg": PICTURE, "/cat/b.jpg": PICTURE}, ["dog/a.jpg", "/cat/b.jpg"], None),
    "several dots": (
        {"dog/a.1.jpg": PICTURE, "dog/a.2.jpg": PICTURE, "cat.v2/a.1.jpg": PICTURE},
        ["dog/a.1.jpg", "dog/a.2.jpg", "cat.v2/a.1.jpg"], ["dog", "dog", "cat.v2"],
    ),
    "the first dot ends a key": ({"a.b.jpg": PICTURE, "a.cls": b"x"}, ["a.b.jpg"], ["x"]),
    "a dot in a folder does not": ({"v.1/a.jpg": PICTURE, "v.1/a.cls": b"x", "v.cls": b"y"}, ["v.1/a.jpg"], ["x"]),
    "several pictures of a sample": (
        {"a.mask.png": PICTURE, "a.jpg": PICTURE, "a.depth.png": PICTURE, "a.cls": b"x", "b.1.jpg": PICTURE,
         "b.2.jpg": PICTURE, "b.cls": b"y"},
        ["a.jpg", "b.1.jpg"], ["x", "y"],
    ),
    "an array beside a picture": ({"a.npy": b"x", "a.jpg": PICTURE, "b.npy": b"x"}, ["a.jpg", "b.npy"], None),
    "what is hidden or no picture": (
        {"._a.jpg": b"x", ".b.jpg": PICTURE, "a.jpg": PICTURE, "__MACOSX/._a.jpg": b"x", ".git/c.jpg": PICTURE,
         "README": b"x", "a.txt": b"x", "d.jpg.part": b"x"},
        ["a.jpg"], None,
    ),
    "nothing": ({}, [], None),
}  # fmt: skip


@pytest.mark.parametrize("case", SAMPLES)
def test_samples(case: str) -> None:
    members, pictures, classes = SAMPLES[case]
    index = index_with(members)
    assert list(index.names) == pictures
    assert labels(index) == classes


def test_pictures_left_out_are_counted() -> None:
    assert index_with(SAMPLES["several pictures of a sample"][0]).passed_over == 3
    assert index_with(SAMPLES["several dots"][0], "y.tar").passed_over == 0


def test_a_name_that_comes_again_counts_as_the_later(here: Path) -> None:
    """`tar -r` adds a changed file at the end, and unpacking takes that one."""
    path = make_tar(here / "x.tar", {"a.png": png(1), "b.png": png(2)})
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo("a.png")
        member.size = len(png(9, (50, 50)))
        tar.addfile(member, io.BytesIO(png(9, (50, 50))))
    index = index_of(str(path))
    assert list(index.names) == ["a.png", "b.png"]
    assert content(index, 0) == png(9, (50, 50))


def test_classes_that_are_numbers_come_in_their_order() -> None:
    for words, expected in (
        (["10", "9", "010", "1"], ["1", "9", "010", "10"]),
        (["b", "10", "9", "a"], ["9", "10", "a", "b"]),
    ):
        members = {
            f"{n}.{end}": data for n, w in enumerate(words) for end, data in (("png", PICTURE), ("cls", w.encode()))
        }
        named = classes_of([index_with(members)])
        assert named is not None
        assert named[1] == expected
        assert [named[1][number] for number in named[0]] == words


@pytest.mark.parametrize(("folders", "order"), [("9 10", "9 10"), ("9 10 a", "10 9 a")])
def test_folders_are_sorted_as_a_folders_are(folders: str, order: str) -> None:
    named = classes_of([index_with({f"{folder}/a.png": PICTURE for folder in folders.split()})])
    assert named is not None
    assert named[1] == order.split()
    assert [named[1][number] for number in named[0]] == folders.split()


def test_pictures_without_a_class_are_told() -> None:
    for number, (members, said) in enumerate((
        ({"a.jpg": PICTURE, "a.cls": b"1", "b.jpg": PICTURE}, "x.tar/b.jpg has no class in a .cls or .json (1 of 2"),
        ({"k/a.jpg": PICTURE, "b.jpg": PICTURE, "c.jpg": PICTURE}, "x.tar/b.jpg lies in no folder of a class, nor"),
        ({"a.jpg": PICTURE, "b.jpg": PICTURE}, "None"),
        ({"a.jpg": PICTURE, "a.cls": b"1"}, "None"),
    )):  # fmt: skip
        index = index_with(members, f"{number}/x.tar")
        assert str(unlabelled_in([index])).removeprefix(f"{number}/").startswith(said)


def test_classes_of_several_shards_have_one_numbering(here: Path) -> None:
    make_tar(here / "0.tar", {"a.png": PICTURE, "a.cls": b"dog", "b.png": PICTURE, "b.cls": b"ant"})
    make_tar(here / "1.tar", {"a.png": PICTURE, "a.cls": b"cat", "b.png": PICTURE, "b.cls": b"dog"})
    make_tar(here / "2.tar", {"k/a.png": PICTURE})
    make_tar(here / "3.tar", {"none.txt": b""})
    named = classes_of(index_shards(["{0..1}.tar", "3.tar"]))
    assert named is not None
    assert named[1] == ["ant", "cat", "dog"]
    assert named[0].tolist() == [2, 0, 1, 2]
    assert classes_of(index_shards(["{0..2}.tar"])) is None  # neither all by .cls nor all by folders
    assert classes_of(index_shards(["2.tar"])) is not None
    assert classes_of(index_shards(["3.tar"])) is None


# --- headers ------------------------------------------------------------------------------------------------------


def content(index: ShardIndex, number: int) -> bytes:
    offset, size = int(index.offsets[number]), int(index.sizes[number])
    return Path(index.shard.path).read_bytes()[offset : offset + size]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_forms_of_tar(form: int) -> None:
    long = "d" * 90 + "/" + ("n" * 95 if form == tarfile.USTAR_FORMAT else "ñ" * 200) + ".png"
    names = {"a.png": png(0), long: png(1), "e\udcff.png": png(2), "z.png": png(3, (90, 80))}
    index = index_with(names, form=form)
    assert list(index.names) == list(names)
    assert [content(index, number) for number in range(4)] == list(names.values())


def test_headers_alone_are_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 20 pictures of a megabyte each, a few kilobytes."""
    path = make_tar(here / "x.tar", {f"{number}.png": bytes(1 << 20) for number in range(20)})
    passed = 0

    class Counting(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:  # type: ignore[override]
            nonlocal passed
            data = super().read(size)
            passed += len(data or b"")
            return data or b""

    monkeypatch.setattr("builtins.open", lambda *_, **__: Counting(path))
    told: list[int] = []
    tar_index.read_samples(str(path), told.append)
    assert passed < 60_000
    assert sum(told) == path.stat().st_size


def test_headers_are_not_kept(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million of them take a gigabyte."""
    most = 0
    following = tarfile.TarFile.next

    def watched(tar: tarfile.TarFile) -> Any:
        nonlocal most
        most = max(most, len(tar.members))  # type: ignore[attr-defined]
        return following(tar)

    monkeypatch.setattr(tarfile.TarFile, "next", watched)
    assert len(index_of(str(sample_tar(here / "x.tar", 50)))) == 50
    assert most <= 1


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[: 2 * 1024 + 600], r"is damaged after 3 members \(unexpected end of data\); fetch it anew"),
        (lambda data: data[: 4 * 1024 + 100], r"is damaged after 4 members \(no header at byte 4,096 of 4,196\)"),
        (lambda data: data[:2048] + b"x" * 512 + data[2560:], r"is damaged after 2 members \(no header at byte 2,048"),
        (
            lambda data: data[:2048] + bytes(2 << 20),
            r"is damaged after 2 members \(an end at byte 2,048 of 2,099,200\)",
        ),
        (lambda data: data[:100], r"is no tar file \(truncated header\)"),
        (lambda data: b"x" * 5000, r"is no tar file \([^;]*$"),
        (lambda data: b"PK\x03\x04" * 500, "it looks like weights, and a model is named with --model"),
        (lambda data: b"\x80\x02\x8a\n" * 500, "it looks like weights, and a model is named with --model"),
    ],
)
def test_damaged_tars_are_refused(damage: Any, said: str, here: Path) -> None:
    path = make_tar(here / "x.tar", {f"{number}.png": PICTURE for number in range(8)})
    assert path.read_bytes()[1024:1029] == b"1.png"  # a header and a picture take a block each
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=said):
        index_of(str(path))
    assert sorted(os.listdir(here)) == ["x.tar"]


def test_a_tar_without_its_end_is_whole(here: Path) -> None:
    """Some writers leave the two empty blocks out."""
    path = make_tar(here / "x.tar", {f"{number}.png": PICTURE for number in range(8)})
    path.write_bytes(path.read_bytes()[: 8 * 1024])
    assert len(index_of(str(path))) == 8


def test_headers_that_lead_in_circles(here: Path) -> None:
    """A size below 0 would bring tarfile back to the same header for ever."""
    path = make_tar(here / "x.tar", {"a.png": PICTURE, "b.png": PICTURE})
    data = bytearray(path.read_bytes())
    header = data[1024:1536]
    header[124:136] = b"\xff" * 10 + (-1024 & 0xFFFF).to_bytes(2, "big")
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    data[1024:1536] = header
    path.write_bytes(data)
    ended: list[str] = []

    def work() -> None:
        with pytest.raises(UserError) as raised:
            index_of(str(path))
        ended.append(str(raised.value))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20)
    assert len(ended) == 1
    assert "is damaged after 1 members" in ended[0]


# --- the index that is kept ---------------------------------------------------------------------------------------


def same(a: ShardIndex, b: ShardIndex) -> bool:
    arrays = zip(
        (a.offsets, a.sizes, *a.names.arrays(), *a.labels, *a.folders),
        (b.offsets, b.sizes, *b.names.arrays(), *b.labels, *b.folders), strict=True,
    )  # fmt: skip
    return (
        a.shard == b.shard and a.passed_over == b.passed_over and all(map(np.array_equal, *zip(*arrays, strict=True)))
    )


def test_it_is_made_once(here: Path) -> None:
    path = str(sample_tar(here / "x.tar", 5))
    first, second, forced = index_of(path), index_of(path), index_of(path, force=True)
    assert (first.is_new, second.is_new, forced.is_new) == (True, False, True)
    assert first.kept == second.kept == here / "x.tar.index.npz"
    assert same(first, second)
    assert same(first, forced)
    assert sorted(os.listdir(here)) == ["x.tar", "x.tar.index.npz"]


def test_a_relative_path_finds_the_same(here: Path) -> None:
    sample_tar(here / "s/x.tar", 5)
    index_of("s/x.tar")
    assert not index_of(str(here / "s/x.tar")).is_new


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_tar_that_changed_is_read_again(change: str, here: Path) -> None:
    path = sample_tar(here / "x.tar", 5)
    index_of(str(path))
    status = path.stat()
    if change == "size":
        sample_tar(path, 50)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    else:
        sample_tar(path, 5, first=20)
        assert path.stat().st_size == status.st_size
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    index = index_of(str(path))
    assert index.is_new
    assert list(index.names)[:1] == ["0000.png" if change == "size" else "0020.png"]
    assert len(index) == (50 if change == "size" else 5)
    assert not index_of(str(path)).is_new


def rewritten(place: Path, **changes: Any) -> None:
    with np.load(place) as file:
        arrays = dict(file)
    arrays.update(changes)
    with open(place, "wb") as stream:
        np.savez(stream, **{name: value for name, value in arrays.items() if value is not None})


class Harm:
    """Does something where it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("harmed",)


DAMAGES: dict[str, Any] = {
    "empty": lambda place: place.write_bytes(b""),
    "cut": lambda place: place.write_bytes(place.read_bytes()[:300]),
    "noise": lambda place: place.write_bytes(os.urandom(2000)),
    "flipped": lambda place: place.write_bytes(place.read_bytes().replace(b"0002.png", b"0002\0png")),
    "pickle": lambda place: place.write_bytes(pickle.dumps(Harm())),
    "object": lambda place: rewritten(place, names=np.array([Harm()], dtype=object)),
    "array": lambda place: np.save(place.open("wb"), np.zeros(3)),
    "folder": lambda place: (place.unlink(), place.mkdir()),
    "other form": lambda place: rewritten(place, form=np.array(99)),
    "missing": lambda place: rewritten(place, sizes=None),
    "shorter": lambda place: rewritten(place, sizes=np.zeros(4, np.int64)),
    "outside": lambda place: rewritten(place, offsets=np.full(5, 10**9)),
    "before": lambda place: rewritten(place, offsets=np.full(5, -5)),
    "larger": lambda place: rewritten(place, sizes=np.full(5, 10**12)),
    "overflow": lambda place: rewritten(place, sizes=np.full(5, 2**63 - 1), offsets=np.full(5, 2**62)),
    "kind": lambda place: rewritten(place, offsets=np.zeros(5)),
    "unknown class": lambda place: rewritten(place, labels=np.full(5, 3, np.int32)),
    "names": lambda place: rewritten(place, ends=np.array([0, 9, 3, 20, 30, 40])),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_made_anew(damage: str, here: Path) -> None:
    path = str(sample_tar(here / "x.tar", 5))
    first = index_of(path)
    DAMAGES[damage](here / "x.tar.index.npz")
    again = index_of(path)
    assert again.is_new
    assert same(first, again)
    assert not index_of(path).is_new
    assert not (here / "harmed").exists()
    assert [name for name in os.listdir(here) if name.endswith(".part")] == []


def test_a_folder_that_nobody_may_write_is_left_alone(here: Path) -> None:
    path = sample_tar(here / "s/x.tar", 5)
    os.chmod(here / "s", 0o555)
    try:
        index = index_of(str(path))
        assert os.listdir(here / "s") == ["x.tar"]
        assert index.kept is not None
        assert index.kept.parent == here / "cache/swav/shards"
        assert not index_of(str(path)).is_new
    finally:
        os.chmod(here / "s", 0o755)


def test_two_tars_of_one_name_have_their_own_place_in_the_cache() -> None:
    assert places("a/x.tar")[1] != places("b/x.tar")[1]
    assert places("a/x.tar")[1] == places("./a/x.tar")[1]


def test_the_home_where_no_cache_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert places("x.tar")[1].parent == Path("/home/me/.cache/swav/shards")


def test_without_a_place_it_works_all_the_same(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("swav_cli.data.shards.index.np.savez", full)
    index = index_of(str(sample_tar(here / "x.tar", 5)))
    assert index.kept is None
    assert len(index) == 5
    assert sorted(path.name for path in here.rglob("*") if path.is_file()) == ["x.tar"]


def index_often(path: str, start: Any) -> None:
    start.wait()
    for _ in range(8):
        index = index_of(path, force=True)
        assert list(index_of(path).names) == list(index.names)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_that_index_at_once(here: Path) -> None:
    path = str(sample_tar(here / "x.tar", 30))
    start = multiprocessing.Barrier(4)
    others = [multiprocessing.Process(target=index_often, args=(path, start)) for _ in range(3)]
    for other in others:
        other.start()
    index_often(path, start)
    for other in others:
        other.join(60)
    assert [other.exitcode for other in others] == [0, 0, 0]
    assert sorted(os.listdir(here)) == ["x.tar", "x.tar.index.npz"]
    assert len(index_of(path)) == 30


def test_the_first_damaged_shard_ends_the_work(here: Path) -> None:
    for number in range(4):
        sample_tar(here / f"{number}.tar", 2)
    (here / "2.tar").write_bytes(b"x" * 2000)
    with pytest.raises(UserError, match=r"^2.tar: is no tar file"):
        index_shards(["{0..3}.tar"])


def test_a_mistake_ends_the_work_on_other_shards(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ctrl-C does, which would otherwise wait until all headers of a large tar have been read."""
    sample_tar(here / "1.tar", 1)
    (here / "0.tar").write_bytes(b"x" * 2000)
    walk, passed = tar_samples.members, 0

    def endless(path: str, file: Any) -> Any:
        nonlocal passed
        yield from walk(path, file)
        for _ in range(2000):
            passed += 1
            time.sleep(0.005)
            yield tarfile.TarInfo("x")

    monkeypatch.setattr(tar_samples, "members", endless)
    monkeypatch.setattr(tar_samples, "TOLD_EVERY", 1)
    with pytest.raises(UserError, match=r"0.tar: is no tar file"):
        index_shards(["{0..1}.tar"])
    assert passed < 1000


def test_data_of_a_size_that_no_class_has_are_not_read() -> None:
    samples = tar_samples.Samples()
    for name in ("a.cls", "a.json"):
        samples.take(name, (0, 1 << 30), lambda: pytest.fail("was read"))
    samples.take("a.jpg", (0, 1), lambda: pytest.fail("was read"))
    assert samples.class_of("a.jpg") is None


def test_files_with_holes_are_passed_over(here: Path) -> None:
    """Their data don't lie in the tar as they are."""
    with tarfile.open(here / "x.tar", "w") as tar:
        for name, headers in (("a.png", {}), ("b.png", {"GNU.sparse.map": "0,5", "GNU.sparse.size": "10"})):
            member = tarfile.TarInfo(name)
            member.size, member.pax_headers = len(PICTURE), headers
            tar.addfile(member, io.BytesIO(PICTURE))
    index = index_of(str(here / "x.tar"))
    assert (list(index.names), index.lost.tolist()) == (["a.png"], ["b.png"])
    assert remarks_on([index])[0].endswith(f"files with holes: passed over, first {here}/x.tar/b.png")
    found = list(read_shard("pipe:cat x.tar"))
    assert [(sample.name, sample.fault) for sample in found] == [("a.png", ""), ("b.png", "a file with holes")]


def test_a_tar_that_cannot_be_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    path = str(sample_tar(here / "x.tar", 2))
    monkeypatch.setattr("swav_cli.data.shards.index.read_samples", refuse)
    with pytest.raises(UserError, match=r"x.tar: can't be read \(Permission denied\)"):
        index_of(path)

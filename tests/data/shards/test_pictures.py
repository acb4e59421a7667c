"""Pictures in tar files: the same as in a folder, by any number of processes, and never unpacked."""

from __future__ import annotations

import gzip
import hashlib
import multiprocessing
import os
import pickle
import shutil
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from swav_cli.core.multicrop import MultiCrop
from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.folders.path_table import PathTable
from swav_cli.data.inputs import open_inputs, with_channels
from swav_cli.data.labelled import hold_out, keep_labelled, train_and_val_in
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.cache import CachedPictures
from swav_cli.data.reading.loader import Order, load_batches
from swav_cli.data.shards import files
from swav_cli.data.shards.names import expand_braces
from swav_cli.data.shards.pictures import ShardPictures
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError
from swav_cli.recipe.sections import AugmentRecipe, CropRecipe
from tests.data.tars import make_tar, png, sample_tar

MAKE = MultiCrop([CropRecipe(count=2, size=16, scale=(0.4, 1.0))], AugmentRecipe(), seed=3)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def level(pictures: Pictures, index: int) -> int:
    return int(pictures.read(index)[0, 0, 0])


def levels(pictures: Pictures) -> list[int]:
    return [level(pictures, index) for index in range(len(pictures))]


def names(pictures: Pictures) -> list[str]:
    return [pictures.name(index) for index in range(len(pictures))]


@pytest.fixture
def twice(here: Path) -> tuple[Pictures, Pictures]:
    """A folder of 23 pictures in three classes, of several kinds and sizes, and the same in two shards."""
    rng = np.random.default_rng(0)
    for number in range(23):
        path = here / "folder" / ("cat", "dog", "ü")[number % 3] / f"{number:02d}.{('png', 'jpg', 'bmp')[number % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (20 + number, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    found = sorted(path for path in (here / "folder").rglob("*") if path.is_file())
    for number, part in enumerate((found[:9], found[9:])):
        with tarfile.open(here / f"part-{number}.tar", "w") as tar:
            for path in part:
                tar.add(path, path.relative_to(here / "folder").as_posix())
    return open_pictures("folder"), open_pictures("part-{0..1}.tar")


# --- the same as a folder -----------------------------------------------------------------------------------------


def test_shards_are_read_as_the_folder_of_the_same_files(twice: tuple[Pictures, Pictures]) -> None:
    folder, shards = twice
    assert isinstance(shards, ShardPictures)
    assert len(shards) == len(folder) == 23
    for index in range(23):
        assert torch.equal(shards.read(index), folder.read(index))
        assert shards.name(index).split("/", 1)[1] == folder.name(index).split("/", 1)[1]
    assert shards.name(8).startswith("part-0.tar/dog/")
    assert shards.name(9).startswith("part-1.tar/dog/")
    assert shards.classes == folder.classes == ["cat", "dog", "ü"]
    assert shards.labels is not None
    assert folder.labels is not None
    assert shards.labels.tolist() == folder.labels.tolist()
    assert shards.read(0).shape[0] == 3
    assert open_pictures("part-0.tar", channels=1).read(0).shape[0] == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_gives_the_folders_batches(twice: tuple[Pictures, Pictures], workers: int) -> None:
    order = Order(23, 6, 2, seed=3)
    for expected, found in zip(
        load_batches(twice[0], MAKE, order, 0), load_batches(twice[1], MAKE, order, workers), strict=True
    ):
        assert torch.equal(expected.crops[0], found.crops[0])
        assert torch.equal(expected.indices, found.indices)
        assert found.bad == []


def test_in_memory_too(twice: tuple[Pictures, Pictures]) -> None:
    kept = CachedPictures(twice[1], threads=4)
    assert all(torch.equal(kept.read(index), twice[0].read(index)) for index in range(23))


def test_labels_serve_a_classifier(twice: tuple[Pictures, Pictures], here: Path) -> None:
    folder, shards = twice
    for mine, its in zip(hold_out(shards, 0), hold_out(folder, 0), strict=True):
        assert mine.chosen.tolist() == its.chosen.tolist()
    (here / "few.txt").write_text("00.png\n04.jpg\n")
    assert levels(keep_labelled(shards, "few.txt", 0)) == levels(keep_labelled(folder, "few.txt", 0))
    assert train_and_val_in("part-{0..1}.tar") is None


def test_positions_count_from_either_end(here: Path) -> None:
    for number in range(2):
        sample_tar(here / f"{number}.tar", 2, first=2 * number)
    pictures = open_pictures("{0..1}.tar")
    assert [level(pictures, position) for position in range(-4, 4)] == [0, 1, 2, 3, 0, 1, 2, 3]
    for outside in (4, -5):
        with pytest.raises(IndexError):
            pictures.read(outside)


def test_memory_is_flat(here: Path) -> None:
    """No object of Python for a picture: workers that are forked would copy each as they touch it."""
    pictures = open_pictures(str(sample_tar(here / "x.tar", 200)))
    held = pickle.dumps(pictures)
    # 8 bytes each for offset, size, label and end of the name, which has 8 letters itself.
    assert len(held) < 200 * 40 + 2500
    assert [type(value) for value in vars(pictures).values() if isinstance(value, (list, dict, tuple))] == [list] * 2
    assert len(pictures.shards) == 1  # type: ignore[attr-defined]
    assert len(pictures.classes or []) == 3


# --- which shards -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "expanded"),
    [
        ("a.tar", ["a.tar"]),
        ("a-{8..10}.tar", ["a-8.tar", "a-9.tar", "a-10.tar"]),
        ("a-{08..10}.tar", ["a-08.tar", "a-09.tar", "a-10.tar"]),
        ("a-{0..2}.tar", ["a-0.tar", "a-1.tar", "a-2.tar"]),
        ("a-{000..002}.tar", ["a-000.tar", "a-001.tar", "a-002.tar"]),
        ("a-{2..1}.tar", ["a-2.tar", "a-1.tar"]),
        ("{x,y}/a-{0..1}.tar", ["x/a-0.tar", "x/a-1.tar", "y/a-0.tar", "y/a-1.tar"]),
        ("a{,-b}.tar", ["a.tar", "a-b.tar"]),
        ("a-{b}.tar", ["a-{b}.tar"]),
        ("a-{1..}.tar", ["a-{1..}.tar"]),
    ],
)
def test_braces(pattern: str, expanded: list[str]) -> None:
    assert expand_braces(pattern) == expanded


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("s/a-0.tar", [0]),
        ("s/a-{0..2}.tar", [0, 1, 2]),
        ("s/a-{2,0}.tar", [0, 2]),
        ("s/*.tar", [0, 1, 2]),
        ("s/a-[12].tar", [1, 2]),
        ("{s,t}/*.tar", [0, 1, 2, 5]),
        ("*/a-{0,5}.tar", None),
        ("**/*.tar", [0, 1, 2, 5]),
        ("s/a-{0,0,0}.tar", [0]),
        ("s/../s/a-0.tar", [0]),
        ("{s,s/../s}/a-0.tar", [0]),
        ("~/s/a-1.tar", [1]),
        ("t/odd[1]{2,3}.TAR", [9]),
    ],
)
def test_sources(source: str, found: list[int] | None, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    for number in range(3):
        sample_tar(here / f"s/a-{number}.tar", 1, first=number)
    sample_tar(here / "t/b.tar", 1, first=5)
    sample_tar(here / "t/odd[1]{2,3}.TAR", 1, first=9)
    if found is None:
        with pytest.raises(UserError, match=r"\*/a-5.tar: no shard has a name like that"):
            open_pictures(source)
        return
    assert levels(open_pictures(source)) == found


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("s/a-{0..4}.tar", "3 of 5 shards are not there, first s/a-2.tar; fetch them"),
        ("s/a-{7..9}.tar", "3 of 3 shards are not there, first s/a-7.tar"),
        ("s/b-0.tar", "no such shard. Did you mean 'a-0.tar'?"),
        ("nowhere/x.tar", "nowhere/x.tar: no such shard."),
        ("s/b-*.tar", "no shard has a name like that"),
        ("s/a-{0..9999999}.tar", "names 10,000,000 shards, and no more than 1,000,000"),
        ("s/x.tar.gz", "s/x.tar.gz: is compressed, so that no picture in it can be read without"),
        ("s/x.tgz", "is compressed"),
        ("s/{a-0.tar,x.tgz}", "s/x.tgz: is compressed"),
        ("s/packed.tar", "s/packed.tar: is compressed"),
        ("s/{a-0.tar,note.md}", "s/note.md does not end in .tar; name shards alone"),
        ("s/{a-0,folder}.tar", "s/folder.tar: is no file; name shards by their files"),
        ("https://host/a-{0..4}.tar", "shards are read from the disk; fetch them first"),
        ("pipe:cat x.tar", "shards are read from the disk"),
        ("s/page.tar", "s/page.tar: is no tar file ("),
        ("s/zero.tar", "s/zero.tar: is no tar file (empty file)"),
        ("s/texts.tar", "s/texts.tar: holds no pictures (.avif, .bmp, "),
        ("only", "only: holds no pictures (.avif, .bmp"),
        ("only", "; for the shards in it write 'only/*.tar'"),
    ],
)
def test_mistakes(source: str, said: str, here: Path) -> None:
    for name in ("s/a-0.tar", "s/a-1.tar", "only/a.tar"):
        sample_tar(here / name, 1)
    packed = gzip.compress((here / "s/a-0.tar").read_bytes())
    for name, content in {
        "x.tar.gz": packed, "x.tgz": packed, "packed.tar": packed, "note.md": b"x", "zero.tar": b"",
        "page.tar": b"<!doctype html>" * 200,
    }.items():  # fmt: skip
        (here / "s" / name).write_bytes(content)
    make_tar(here / "s/texts.tar", {"a.txt": b"x"})
    (here / "s/folder.tar").mkdir()
    with pytest.raises(UserError) as raised:
        open_pictures(source)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_folder_with_the_name_of_a_shard_is_a_folder(here: Path) -> None:
    (here / "x.tar").mkdir()
    (here / "x.tar/a.png").write_bytes(png(7))
    assert levels(open_pictures("x.tar")) == [7]


# --- fingerprints -------------------------------------------------------------------------------------------------


def test_fingerprints(here: Path) -> None:
    for name in ("a", "b"):
        sample_tar(here / f"s/{name}.tar", 3)
    prints = [open_pictures(source).fingerprint() for source in ("s/*.tar", "s/a.tar")]
    assert open_pictures("s/b.tar").fingerprint() == prints[1], "whatever a shard is called"
    shutil.move("s", "moved")
    assert [open_pictures(source).fingerprint() for source in ("moved/*.tar", "moved/a.tar")] == prints
    make_tar(here / "moved/a.tar", {f"{number:04d}.png": png(number) for number in (0, 1)})
    prints.append(open_pictures("moved/a.tar").fingerprint())
    make_tar(here / "moved/a.tar", {"0000.png": png(0), "0001.png": png(1, (500, 4))})
    prints.append(open_pictures("moved/a.tar").fingerprint())
    make_tar(here / "moved/a.tar", {"0000.png": png(0), "0002.png": png(1, (500, 4))})
    prints.append(open_pictures("moved/a.tar").fingerprint())
    assert len(set(prints)) == len(prints)


def test_what_earlier_versions_have_noted(here: Path) -> None:
    pictures = open_pictures(str(sample_tar(here / "s/a.tar", 3)))
    sizes, starts = np.array([len(png(number)) for number in range(3)]), np.array([0, 3])
    names = PathTable([f"{number:04d}.png" for number in range(3)])
    noted = hashlib.sha256(names.digest().encode() + sizes.tobytes() + starts.tobytes() + b"a.tar").hexdigest()[:16]
    assert pictures.former_fingerprints() == {noted}


def test_contents_tell_pictures_of_the_same_names_and_sizes_apart(here: Path) -> None:
    one, other = (
        open_pictures(str(make_tar(here / f"{name}.tar", {"a.png": name.encode(), "b.png": b"z"}))) for name in "xy"
    )
    assert one.fingerprint() == other.fingerprint()
    assert [a == b for a, b in zip(one.contents(), other.contents(), strict=True)] == [False, True]
    with open(here / "x.tar", "r+b") as file:
        file.truncate(512)  # behind the first header
    assert one.contents() == ["", ""]


# --- what can't be read -------------------------------------------------------------------------------------------


def test_a_bad_picture_is_told_by_itself(here: Path) -> None:
    path = make_tar(here / "x.tar", {"a.png": png(1), "b.png": b"no picture", "c.png": b"", "d.png": png(4)})
    pictures = open_pictures(str(path))
    assert level(pictures, 0) == 1
    assert level(pictures, 3) == 4
    for index, said in ((1, "not a picture"), (2, "the file is empty")):
        with pytest.raises(BadPicture, match=said):
            pictures.read(index)


def test_a_shard_that_ends_too_early(here: Path) -> None:
    path = sample_tar(here / "x.tar", 3)
    pictures = open_pictures(str(path))
    assert level(pictures, 0) == 0  # which leaves it open
    os.truncate(path, 3 * 1024 + 20)
    with pytest.raises(BadPicture, match="the shard ends before this picture does"):
        pictures.read(2)


def test_a_shard_that_changed_after_its_index_was_read(here: Path) -> None:
    pictures = open_pictures(str(sample_tar(here / "x.tar", 3)))
    sample_tar(here / "x.tar", 5)
    with pytest.raises(BadPicture, match="has changed since its index was made"):
        pictures.read(0)


class Faulty:
    """A disk that fails so many times."""

    def __init__(self, failures: int) -> None:
        self.failures, self.calls = failures, 0
        self.found_open: list[int] = []
        self.read = files.read_at

    def __call__(self, number: int, size: int, offset: int) -> bytes:
        self.calls += 1
        self.found_open.append(files._opened.cache_info().hits)
        if self.calls <= self.failures:
            raise OSError(5, "Input/output error")
        return self.read(number, size, offset)


@pytest.mark.parametrize(("failures", "calls"), [(0, 1), (1, 2), (3, 4), (4, 4), (100, 4)])
def test_a_disk_that_fails_for_a_moment(failures: int, calls: int, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = open_pictures(str(sample_tar(here / "x.tar", 3)))
    disk = Faulty(failures)
    monkeypatch.setattr(files, "read_at", disk)
    monkeypatch.setattr("swav_cli.data.decoding.images.PAUSES", (0.0, 0.0, 0.0))
    if failures < calls:
        assert level(pictures, 2) == 2
    else:
        with pytest.raises(BadPicture, match=r"^Input/output error$"):
            pictures.read(2)
    assert disk.calls == calls
    assert disk.found_open[1:] == [0] * (calls - 1)  # it was opened anew for each


def test_a_shard_that_is_gone(here: Path) -> None:
    pictures = open_pictures(str(sample_tar(here / "x.tar", 3)))
    (here / "x.tar").unlink()
    with pytest.raises(BadPicture, match="No such file"):
        pictures.read(2)


def test_a_system_that_gives_less_than_was_asked_for(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = open_pictures(str(sample_tar(here / "x.tar", 3)))
    read = files.read_at
    monkeypatch.setattr(files, "read_at", lambda number, size, offset: read(number, min(size, 7), offset))
    assert levels(pictures) == [0, 1, 2]


def test_without_pread(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = open_pictures(str(sample_tar(here / "x.tar", 40)))
    monkeypatch.setattr(files, "read_at", files.seek_and_read)
    seek = os.lseek

    def slow_seek(number: int, offset: int, whence: int) -> int:
        found = seek(number, offset, whence)
        time.sleep(0.001)  # in which another thread would seek elsewhere
        return found

    monkeypatch.setattr(os, "lseek", slow_seek)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda index: level(pictures, index), range(40))) == list(range(40))


# --- descriptors and processes ------------------------------------------------------------------------------------


def open_tars() -> list[str]:
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sorted(os.readlink(link) for link in links if os.path.lexists(link) and os.readlink(link).endswith(".tar"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts as Linux does")
def test_few_shards_are_open_at_once(here: Path) -> None:
    count = files.OPEN_SHARDS + 8
    for number in range(count):
        make_tar(here / f"{number:03d}.tar", {"a.png": png(number)})
    pictures = open_pictures("*.tar")
    files._opened.cache_clear()
    assert open_tars() == []
    assert levels(pictures) == list(range(count))
    assert len(open_tars()) == files.OPEN_SHARDS
    assert level(pictures, count - files.OPEN_SHARDS) == count - files.OPEN_SHARDS  # the oldest: used again
    assert level(pictures, 0) == 0
    assert str(here / f"{count - files.OPEN_SHARDS:03d}.tar") in open_tars()
    assert str(here / f"{count - files.OPEN_SHARDS + 1:03d}.tar") not in open_tars()
    with ThreadPoolExecutor(8) as pool:  # which close each other's
        assert list(pool.map(lambda index: level(pictures, index % count), range(4 * count))) == 4 * list(range(count))
    assert len(open_tars()) <= files.OPEN_SHARDS


def read_and_tell(pictures: Pictures, before: int, answers: Any) -> None:
    """In a process of its own: what is read, and whether its parent's file served."""
    found = levels(pictures)
    answers.put((found, files._opened.cache_info().misses - before))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_another_process_opens_its_own(method: Any, here: Path) -> None:
    pictures = open_pictures(str(sample_tar(here / "x.tar", 5)))
    assert levels(pictures) == [0, 1, 2, 3, 4]
    context = multiprocessing.get_context(method)
    answers = context.SimpleQueue()
    before = files._opened.cache_info().misses if method == "fork" else 0
    child = context.Process(target=read_and_tell, args=(pictures, before, answers))
    child.start()
    assert answers.get() == ([0, 1, 2, 3, 4], 1)
    child.join()
    assert levels(pictures) == [0, 1, 2, 3, 4]


def test_pictures_can_be_pickled(here: Path) -> None:
    pictures = open_pictures(str(sample_tar(here / "x.tar", 5)))
    level(pictures, 0)
    again = pickle.loads(pickle.dumps(pictures))
    assert levels(again) == levels(pictures)
    assert names(again) == names(pictures)
    assert again.labels.tolist() == [0, 1, 2, 0, 1]
    assert again.fingerprint() == pictures.fingerprint()


# --- names that mean harm -----------------------------------------------------------------------------------------


def test_a_members_name_is_only_a_name(here: Path) -> None:
    outside = here / "outside.png"
    inside = here / "deep/er"
    harmful = ["../../outside.png", str(outside), "../../../../../../etc/passwd.jpg", "a/../../outside.png"]
    path = make_tar(inside / "x.tar", {name: png(number) for number, name in enumerate(harmful)})
    with tarfile.open(path, "a") as tar:
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)):
            link = tarfile.TarInfo(f"link{number}.png")
            link.type, link.linkname = kind, "/etc/passwd"
            tar.addfile(link)
    before = sorted(here.rglob("*"))
    pictures = open_pictures(str(path))
    assert names(pictures) == [f"{path}/{name}" for name in harmful]
    assert levels(pictures) == [0, 1, 2, 3]
    assert pictures.labels is None
    assert sorted(here.rglob("*")) == sorted([*before, Path(f"{path}.index.npz")])


# --- inputs of predict and extract --------------------------------------------------------------------------------


def test_as_inputs(here: Path) -> None:
    for number in range(3):
        sample_tar(here / f"s/{number}.tar", 2, first=10 * number)
    for inputs in (["s/*.tar"], ["s/{0..2}.tar"], ["s/2.tar", "s/0.tar", "s/1.tar"], ["s/0.tar", "s/{1,2}.tar"]):
        pictures = open_inputs(inputs)
        assert levels(pictures) == [0, 1, 10, 11, 20, 21]
    assert with_channels(pictures, 1).read(0).shape == (1, 4, 5)
    (here / "a.png").write_bytes(png(3))
    with pytest.raises(UserError, match=r"s/0.tar: can't be joined with other inputs; give it alone"):
        open_inputs(["a.png", "s/0.tar"])
    with pytest.raises(UserError, match="no such shard"):
        open_inputs(["s/7.tar"])


# --- progress -----------------------------------------------------------------------------------------------------


def test_indexing_tells_how_far_it_is_and_writes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = [sample_tar(here / f"{number}.tar", 2).stat().st_size for number in range(3)]
    told: list[tuple[int, int]] = []
    open_pictures("{0..2}.tar", progress=lambda *how_far: told.append(how_far))
    assert {count for _, count in told} == {sum(sizes)}
    done = [each for each, _ in told]
    assert done == sorted(done)
    assert done[0] < done[-1] == sum(sizes)
    assert capsys.readouterr() == ("", "")


def test_what_fails_ends_the_display_too(here: Path) -> None:
    sample_tar(here / "0.tar", 2)
    (here / "1.tar").write_bytes(b"no tar" * 200)
    told: list[tuple[int, int]] = []
    with pytest.raises(UserError):
        open_pictures("{0..1}.tar", progress=lambda *how_far: told.append(how_far))
    assert told[-1][0] == told[-1][1]

"""Shards as a stream: every picture comes, divided over workers and processes, whatever breaks off on the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from swav_cli.core.multicrop import MultiCrop
from swav_cli.data.reading.loader import Batch, Order
from swav_cli.data.reading.readers import Killed
from swav_cli.data.shards import stream_members
from swav_cli.data.shards.stream_members import BrokenShard, Sample, read_shard
from swav_cli.data.shards.streams import SHARD_BITS, ShardShare, StreamPictures, load_stream, open_stream
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError
from swav_cli.recipe.sections import AugmentRecipe, CropRecipe
from swav_cli.tasks.pretrain import settle
from swav_cli.tasks.pretrain_plan import preview_views
from tests.conftest import tiny_recipe
from tests.data.serving import Server, serve
from tests.data.tars import make_links, make_tar, png, sample_tar

MAKE = MultiCrop([CropRecipe(count=2, size=16, scale=(0.4, 1.0))], AugmentRecipe(), seed=3)
SHARDS, EACH = 6, 8
COUNT = SHARDS * EACH


@pytest.fixture
def server(here: Path) -> Iterator[Server]:
    with serve(here) as server:
        yield server


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stream_members, "PAUSES", (0.0, 0.0))
    for number in range(SHARDS):
        sample_tar(tmp_path / f"{number}.tar", EACH, first=EACH * number)
    return tmp_path


def cat(buffer: int = 10, shards: int = SHARDS, count: int = COUNT) -> StreamPictures:
    return open_stream(f"pipe:cat {{0..{shards - 1}}}.tar", count, buffer)


def level(sample: Sample) -> int:
    return int(sample.decoded(3)[0, 0, 0])


def read(
    pictures: StreamPictures, workers: int = 0, batch: int = 6, epochs: int = 1, first: int = 0,
    finished: set[int] | None = None, rank: int = 0, processes: int = 1, notices: list[str] | None = None,
    max_bad: float = 0.5,
) -> list[Batch]:  # fmt: skip
    def share(size: int) -> slice:
        return slice(rank * size // processes, (rank + 1) * size // processes)

    order = Order(len(pictures), batch, epochs, 3, first, share=share)
    pictures.max_bad = max_bad
    own = ShardShare(rank, processes, finished=finished or set())
    told = (notices if notices is not None else []).append
    found = list(load_stream(pictures, MAKE, order, own, workers, notice=told))
    assert len(found) == len(order)
    assert all(len(each.indices) == order.largest() for each in found)
    return found


def places(batches: list[Batch]) -> list[int]:
    """Numbers of pictures over all shards, as they are named; their gray levels say the same."""
    numbers = [divmod(int(index), 1 << SHARD_BITS) for batch in batches for index in batch.indices]
    return [EACH * shard + place for shard, place in numbers]


def levels(batches: list[Batch]) -> list[int]:
    return [int(level) for batch in batches for level in batch.crops[0][:, 0, 0, 0, 0]]


def finished_in(batches: list[Batch]) -> list[int]:
    return [shard for batch in batches for shard in batch.finished]


# --- which pictures come ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_every_picture_comes_once_where_the_shards_divide_evenly(workers: int) -> None:
    found = read(cat(), workers, batch=4, epochs=2)
    first, second = places(found[: len(found) // 2]), places(found[len(found) // 2 :])
    assert sorted(first) == sorted(second) == list(range(COUNT))
    assert first != second
    assert first != sorted(first)
    assert levels(found) == [*first, *second]


@pytest.mark.parametrize("workers", [0, 1])
def test_processes_divide_the_shards(workers: int) -> None:
    parts = [places(read(cat(), workers, rank=rank, processes=2)) for rank in range(2)]
    assert sorted(parts[0] + parts[1]) == list(range(COUNT))
    shards = [{place // EACH for place in part} for part in parts]
    assert not shards[0] & shards[1]


def test_the_same_seed_workers_and_processes_give_the_same() -> None:
    once, again = read(cat(), 2, epochs=2), read(cat(), 2, epochs=2)
    for a, b in zip(once, again, strict=True):
        assert torch.equal(a.crops[0], b.crops[0])
        assert torch.equal(a.numbers, b.numbers)
        assert torch.equal(a.indices, b.indices)
        assert a.finished == b.finished


def test_crops_depend_on_the_picture_and_the_epoch_alone() -> None:
    def drawn(workers: int) -> dict[tuple[int, int], Tensor]:
        found = read(cat(), workers, batch=4, epochs=2)
        return {
            (number // (len(found) // 2), int(index)): batch.numbers[row]
            for number, batch in enumerate(found)
            for row, index in enumerate(batch.indices)
        }

    alone, many = drawn(0), drawn(3)
    assert alone.keys() == many.keys()
    assert all(torch.equal(alone[key], many[key]) for key in alone)
    assert not torch.equal(alone[0, 5], alone[1, 5])


def test_the_buffer_mixes_shards() -> None:
    """With a buffer of 1 a shard's pictures come in a row; with a large one they are spread over all of the epoch."""
    orders = [np.array(places(read(cat(buffer)))) // EACH for buffer in (1, COUNT)]
    changes = [int((np.diff(order) != 0).sum()) for order in orders]
    assert changes[0] == SHARDS - 1
    assert changes[1] > COUNT // 2


def test_an_epoch_is_as_long_as_is_said() -> None:
    """Shorter than the stream, it leaves pictures out; longer, it begins with another order, and cuts other crops."""
    short = places(read(cat(count=COUNT // 2)))
    assert len(set(short)) == len(short) == COUNT // 2
    found = read(cat(count=2 * COUNT))
    assert Counter(places(found)) == Counter(range(COUNT)) + Counter(range(COUNT))
    assert sorted(places(found)[:COUNT]) == list(range(COUNT))
    drawn: dict[int, list[Tensor]] = {}
    for batch in found:
        for index, numbers in zip(batch.indices.tolist(), batch.numbers, strict=True):
            drawn.setdefault(index, []).append(numbers)
    assert not any(torch.equal(*twice) for twice in drawn.values())


def test_more_workers_than_shards() -> None:
    notices: list[str] = []
    found = read(cat(shards=2, count=16), 5, batch=4, notices=notices)
    assert sorted(places(found)) == list(range(16))
    assert notices == ["2 shards keep no more than 2 workers busy, so 5 are too many"]


def test_samples_are_grouped_as_webdataset_has_it(here: Path) -> None:
    members = {
        "./a.jpg": png(1), "./a.seg.png": png(2), "./a.npy": b"x", "./a.cls": b"0", "b.1.png": png(3),
        "b.2.png": png(4), ".hidden.png": png(5), "c.txt": b"c", "d.PNG": png(6),
        "e.pyd": b"cos\nsystem\n(S'touch gone'\ntR.",
    }  # fmt: skip
    make_tar(here / "x.tar", members)
    assert [sample.name for sample in read_shard("pipe:cat x.tar")] == ["a.jpg", "b.1.png", "b.2.png", "d.PNG"]
    subprocess.run(["gzip", "-k", "x.tar"], check=True)
    assert len(list(read_shard("pipe:cat x.tar.gz"))) == 4
    assert not (here / "gone").exists()


# --- over http, and what breaks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_a_connection_that_is_cut_costs_no_picture(workers: int, server: Server) -> None:
    pictures = open_stream(server.url + "/{0..5}.tar", COUNT, 10)
    server.cuts.update({"1.tar": 1, "4.tar": 2})
    server.asked.clear()
    notices: list[str] = []
    found = read(pictures, workers, notices=notices)
    assert sorted(places(found)) == list(range(COUNT))
    assert levels(found) == places(found)
    assert notices == []
    assert (server.asked["0.tar"], server.asked["1.tar"], server.asked["4.tar"]) == (1, 2, 3)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_is_cut_each_time_is_left_out(workers: int, server: Server) -> None:
    pictures = open_stream(server.url + "/{0..5}.tar", COUNT, 10)
    server.cuts["2.tar"] = 1000
    notices: list[str] = []
    found = read(pictures, workers, epochs=2, notices=notices)
    assert notices == [f"{server.url}/2.tar: can't be read (the connection was cut), and is left out"]
    of_it = {place for place in places(found) if place // EACH == 2}
    assert len(of_it) < EACH
    assert set(places(found)) - of_it == set(range(COUNT)) - set(range(2 * EACH, 3 * EACH))


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_shards_that_fail_end_the_run_in_a_line(workers: int, server: Server, here: Path) -> None:
    pictures = open_stream(server.url + "/{0..5}.tar", COUNT, 10)
    for number in range(1, SHARDS):
        (here / f"{number}.tar").unlink()
    with pytest.raises(UserError) as raised:
        read(pictures, workers, max_bad=0.4)
    assert "3 of 6 shards can't be read, more than data.max_bad (0.4), first http://127.0.0.1" in str(raised.value)
    assert "(the server refuses it)" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<!doctype html>" * 200, "(invalid header|bad checksum)"),
        (b"", "empty file"),
        (None, "its command ended with exit code 1"),
        ("in a picture", "unexpected end of data"),
        ("in a header", "no header at byte 4,096"),
        ("no header", "no header at byte 4,096"),
    ],
)
def test_what_is_wrong_with_a_shard(content: bytes | str | None, why: str, here: Path) -> None:
    whole = (here / "0.tar").read_bytes()
    with tarfile.open(here / "0.tar") as tar:
        begin = tar.getmembers()[4].offset
    odd = {
        "in a picture": whole[: begin + 512 + 20],
        "in a header": whole[: begin + 20],
        "no header": whole[:begin] + b"\x01" * 512 + whole[begin + 512 :],
    }
    if content is not None:
        (here / "odd.tar").write_bytes(odd[content] if isinstance(content, str) else content)
    with pytest.raises(BrokenShard, match=why):
        list(read_shard("pipe:cat odd.tar 2>&-"))


def joined(here: Path) -> None:
    (here / "joined.tar").write_bytes((here / "0.tar").read_bytes() + (here / "1.tar").read_bytes())


@pytest.mark.parametrize("packer", ["cat", "gzip -c", "bzip2 -c", "xz -c"])
def test_tars_that_were_joined_are_read_to_the_end(packer: str, here: Path) -> None:
    """Packed ones too, before they were packed or behind it."""
    if shutil.which(packer.split()[0]) is None:
        pytest.skip(f"no {packer}")
    joined(here)
    for command in (f"{packer} joined.tar", f"{packer} 0.tar; {packer} 1.tar"):
        assert [level(sample) for sample in read_shard(f"pipe:{command}")] == list(range(2 * EACH))


@pytest.mark.parametrize("behind", [b"x", b"<!doctype html>" * 100, bytes(5000) + b"\1" + bytes(511), bytes(2 << 20)])
def test_what_is_no_tar_behind_the_end_is_told(behind: bytes, here: Path) -> None:
    (here / "odd.tar").write_bytes((here / "0.tar").read_bytes() + behind)
    with pytest.raises(BrokenShard, match=r"(no header|an end) at byte"):
        list(read_shard("pipe:cat odd.tar"))


def test_links_in_a_stream(here: Path) -> None:
    make_links(here / "links.tar")
    found = list(read_shard("pipe:cat links.tar"))
    expected = {
        "a.png": 1, "b.png": 2, "hard.png": 1, "soft.png": 2, "deep/up.png": 1, "chain.png": 1, "before.png": 3,
        "late.png": 3, "via.png": 4, "z/c.png": 3,
    }  # fmt: skip
    assert {sample.name: level(sample) for sample in found if not sample.fault} == expected
    assert {sample.name: sample.fault for sample in found if sample.fault} == {
        "out.png": "a link to ../out.png, which is not in its tar",
        "root.png": "a link to /etc/x.png, which is not in its tar",
        "loop.png": "a link to loop.png, which is not in its tar",
    }


def test_links_that_lead_nowhere_are_bad_pictures(here: Path) -> None:
    make_links(here / "0.tar")
    bad = [why for batch in read(cat(shards=1, count=24), batch=8) for _, why in batch.bad]
    assert "out.png: a link to ../out.png, which is not in its tar" in bad


def test_a_command_that_fails_in_the_end_is_not_believed() -> None:
    for command in ("cat 0.tar; exit 3", "cat 0.tar; exec 1>&-; sleep 0.1; exit 3"):
        with pytest.raises(BrokenShard, match="its command ended with exit code 3"):
            list(read_shard(f"pipe:{command}"))


def test_a_command_that_goes_on_writing_zeros_is_heard_to_the_end() -> None:
    assert len(list(read_shard("pipe:cat 0.tar && head -c 300000 /dev/zero"))) == EACH


def test_a_shard_that_is_left_early_leaves_no_command_behind(here: Path) -> None:
    samples = read_shard("pipe:echo $$ > number; cat 0.tar; exec sleep 100")
    next(samples)
    samples.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int((here / "number").read_text()), 0)


def test_bad_pictures_are_told_and_others_come(here: Path) -> None:
    make_tar(here / "3.tar", {"a.png": b"no picture", "b.png": png(25)})
    found = read(cat(), epochs=1)
    bad = [each for batch in found for each in batch.bad]
    assert (3 << SHARD_BITS, "a.png: a text, not a picture") in bad
    assert cat().name(3 << SHARD_BITS) == "pipe:cat 3.tar, picture 1"


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_but_bad_pictures(workers: int, here: Path) -> None:
    for number in range(2):
        make_tar(here / f"{number}.tar", {f"{name}.png": b"no picture" for name in range(80)})
    with pytest.raises(UserError, match=r"nor can 100 others be read; are these shards of pictures\?$") as raised:
        read(cat(shards=2, count=16), workers)
    assert "\n" not in str(raised.value)


def test_shards_without_pictures(here: Path) -> None:
    stream = cat(shards=2, count=16)
    for number in range(2):
        make_tar(here / f"{number}.tar", {"a.txt": b"x"})
    with pytest.raises(UserError, match="no picture can be found in the stream"):
        read(stream)
    with pytest.raises(UserError, match=r"pipe:cat 0.tar: holds no pictures"):
        cat(shards=2, count=16)


# --- resume -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "after"), [(0, 0), (0, 3), (2, 2), (2, 1)])
def test_finished_shards_are_not_read_again(workers: int, after: int, server: Server) -> None:
    pictures = open_stream(server.url + "/{0..5}.tar", COUNT, 3)
    whole = read(pictures, workers, epochs=2)
    steps = len(whole) // 2
    before = whole[: steps - 2]
    finished = set(finished_in(before))
    assert finished
    assert {
        shard for shard in range(SHARDS) if set(range(EACH * shard, EACH * (shard + 1))) <= set(places(before))
    } >= (finished)
    server.asked.clear()
    rest = read(pictures, after, epochs=2, first=steps - 2, finished=set(finished))
    now = places(rest[:2])
    assert not {place // EACH for place in now} & finished
    if not after:  # other workers begin with the next epoch while the batches of this one are taken
        assert sorted(places(rest[2:])) == list(range(COUNT))
        assert all(server.asked[f"{shard}.tar"] == 1 for shard in finished)


def test_processes_go_on_with_what_none_has_finished() -> None:
    pictures = cat(3)
    before = [read(pictures, 0, rank=rank, processes=2)[:5] for rank in range(2)]
    finished = set(finished_in(before[0]) + finished_in(before[1]))
    assert 1 < len(finished) < SHARDS
    after = [read(pictures, 0, first=5, finished=set(finished), rank=rank, processes=3) for rank in range(3)]
    shards = [{place // EACH for place in places(part)} for part in after]
    assert not set.union(*shards) & finished


class KilledOnce:
    """Workers that are ended after so many batches."""

    def __init__(self, batches: Any, after: int) -> None:
        self.batches, self.after = batches, after

    def __next__(self) -> Any:
        self.after -= 1
        if self.after == -1:
            raise Killed("SIGKILL")
        return next(self.batches)

    def close(self) -> None:
        self.batches.close()


def test_new_workers_go_on_with_the_own_part_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from swav_cli.data.reading import loader

    start, starts = loader._start, []

    def start_once(*arguments: Any) -> Any:
        starts.append(arguments)
        readers = start(*arguments)
        return KilledOnce(readers, 3) if len(starts) == 1 else readers

    monkeypatch.setattr(loader, "_start", start_once)
    pictures, finished, found = cat(1), set[int](), []
    order = Order(COUNT, 8, 1, 3, share=lambda size: slice(0, size // 2))
    for batch in load_stream(pictures, MAKE, order, ShardShare(0, 2, finished=finished), 0, notice=lambda text: None):
        found.append(batch)
        finished.update(batch.finished)
    assert len(starts) == 2
    other = read(pictures, 0, batch=8, rank=1, processes=2)
    assert not {place // EACH for place in places(found)} & {place // EACH for place in places(other)}
    # Of what was in progress some come twice, and as many others not.
    assert len(set(places(found))) >= COUNT // 2 - EACH


# --- mistakes, and what comes from elsewhere ----------------------------------------------------------------------


def test_fewer_shards_than_processes() -> None:
    with pytest.raises(UserError, match="2 shards can't be divided over 3 processes; start no more than 2"):
        open_stream("pipe:cat {0..1}.tar", 16, 10, processes=3)


def test_without_webdataset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "webdataset.gopen", None)
    with pytest.raises(UserError, match=r"needs webdataset; install it with: pip install 'swav-cli\[shards\]'"):
        cat()


def test_a_webdataset_that_hands_addresses_to_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_members, "version", lambda name: "0.2.100")
    with pytest.raises(
        UserError, match=r"needs webdataset 1\.0 or later, and this is 0\.2\.100.*pip install 'swav-cli"
    ):
        cat()


def test_without_curl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    cat()
    with pytest.raises(UserError, match="needs the program curl"):
        open_stream("https://localhost/0.tar", 16, 10)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.train=pipe:cat 0.tar"], "data.train is a stream, whose pictures can't be counted; say about how many"),
        (["data.stream_pictures=5"], "data.stream_pictures (5) is of streams, and data.train is none"),
        (["data.train=pipe:cat 0.tar", "data.stream_pictures=5", "data.limit=3"], "data.limit (3) chooses among"),
        (["data.train=https://a/0.tar", "data.stream_pictures=5", "data.cache=true"], "data.cache (true) keeps"),
    ],
)
def test_contradictions(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError) as raised:
        tiny_recipe(*overrides)
    assert said in str(raised.value)


OURS = ("data.train=pipe:cat {0..5}.tar", f"data.stream_pictures={COUNT}", "data.val=null")


def test_a_stream_is_not_read_twice() -> None:
    with pytest.raises(UserError, match="has no labels for k-NN to learn from; name labelled"):
        settle(tiny_recipe(*OURS[:2]))
    for source in ("pipe:touch gone", "pipe:cat 0.tar", "HTTPS://host/0.tar"):
        with pytest.raises(UserError, match="shards are read from the disk; fetch them first"):
            open_pictures(source)
    with pytest.raises(UserError, match="can't be read one by one"):
        cat().read(0)


def test_statistics_and_previews_are_of_the_first_pictures() -> None:
    run = settle(tiny_recipe(*OURS, "data.mean=auto", "data.std=auto"))
    assert run.recipe.data.mean == [pytest.approx(sum(range(EACH)) / EACH / 255, abs=1e-4)] * 3
    assert {value.key: value.reason for value in run.derived}["data.mean"] == f"measured on {EACH} pictures"
    assert len(preview_views(run.recipe, run.pictures)[0][0]) == EACH

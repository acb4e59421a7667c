"""Pictures kept in memory are the pictures."""

from __future__ import annotations

import math
import os
import sys
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image

from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading import cache
from swav_cli.data.reading.cache import CachedPictures, cached, free_memory
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError
from swav_cli.recipe.file import dump_recipe
from swav_cli.run.metrics import read_metrics
from tests.conftest import tiny_recipe
from tests.processes import start_together


@pytest.fixture
def mixed(tmp_path: Path) -> Pictures:
    """Pictures of several sizes and kinds, two of them bad."""
    rng = np.random.default_rng(0)
    for number in range(12):
        kind = tmp_path / f"kind{number % 3}"
        kind.mkdir(exist_ok=True)
        shape = (5 + number, 20 - number, 3)
        picture = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(kind / f"{number:02d}.{'jpg' if number % 2 else 'png'}", exif=exif.tobytes())
    (tmp_path / "kind0" / "00.png").write_bytes(b"")
    (tmp_path / "kind2" / "11.jpg").write_bytes(b"<html>")
    return open_pictures(str(tmp_path))


@pytest.mark.parametrize("threads", [1, 3])
def test_cached_is_uncached(mixed: Pictures, threads: int) -> None:
    kept = CachedPictures(mixed, threads)
    assert len(kept) == len(mixed) == 12
    assert (kept.source, kept.channels, kept.classes) == (mixed.source, mixed.channels, mixed.classes)
    assert kept.labels is mixed.labels
    assert kept.fingerprint() == mixed.fingerprint()
    bad = [index for index in range(12) if complaint(mixed, index)]
    assert len(bad) == 2
    for index in range(12):
        assert kept.name(index) == mixed.name(index)
        assert complaint(kept, index) == complaint(mixed, index)
        if index not in bad:
            picture = kept.read(index)
            assert torch.equal(picture, mixed.read(index))
            assert picture.stride() == (1, 3 * picture.shape[2], 3)


def complaint(pictures: Pictures, index: int) -> str:
    try:
        pictures.read(index)
    except BadPicture as error:
        return str(error)
    return ""


def test_nothing_is_read_again(mixed: Pictures) -> None:
    kept = CachedPictures(mixed, 1)
    for index in range(12):
        Path(mixed.name(index)).unlink()
    assert kept.read(1).shape[0] == 3


def test_other_numbers_of_channels(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (4, 6, 5), dtype=np.uint8)
    np.save(tmp_path / "a.npy", values)
    kept = CachedPictures(open_pictures(str(tmp_path), channels=5), 1)
    assert (kept.read(0).permute(1, 2, 0).numpy() == values).all()


def test_pictures_that_are_all_bad(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    kept = CachedPictures(open_pictures(str(tmp_path)), 1)
    with pytest.raises(BadPicture, match="empty"):
        kept.read(0)


def test_reading_in_threads_leaves_warnings_as_they_were(mixed: Pictures) -> None:
    before = list(warnings.filters)
    for _ in range(5):
        CachedPictures(mixed, 4)
    assert list(warnings.filters) == before


BYTES = 100 * 32 * 32 * 3


@pytest.mark.parametrize(
    ("wanted", "free", "kept"),
    [
        ("auto", 5 * BYTES, True), ("auto", 3 * BYTES, False), ("auto", 0, False),
        (True, 3 * BYTES, True), (False, 1e12, False),
    ],
)  # fmt: skip
def test_kept_where_wanted_and_where_they_fit(
    wanted: bool | Literal["auto"], free: float, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "free_memory", lambda: free)
    pictures = open_pictures("shapes:100")
    found = cached(pictures, wanted)
    assert isinstance(found, CachedPictures) == kept
    assert kept or found is pictures


def test_more_than_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "free_memory", lambda: BYTES / 2)
    with pytest.raises(
        UserError, match=r"shapes:100:0: its 100 pictures take about .* set data.cache to auto or false"
    ):
        cached(open_pictures("shapes:100"), True)


@pytest.mark.parametrize(("processes", "kept"), [(1, True), (2, True), (3, False)])
def test_every_process_of_a_machine_keeps_its_own(processes: int, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    monkeypatch.setattr(cache, "free_memory", lambda: 9 * BYTES)
    assert isinstance(cached(open_pictures("shapes:100"), "auto"), CachedPictures) == kept
    monkeypatch.setattr(cache, "free_memory", lambda: 2.5 * BYTES)
    if processes == 3:
        with pytest.raises(UserError, match=r"take about 0.0 GB of memory in 3 processes, of which 0.0 GB are free"):
            cached(open_pictures("shapes:100"), True)


def test_the_processors_decode_whatever_torch_computes_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun leaves each process one thread to compute with."""
    monkeypatch.setattr(cache, "own_processors", lambda: 5)
    threads = []
    monkeypatch.setattr(cache, "CachedPictures", lambda pictures, count: threads.append(count))
    cached(open_pictures("shapes:100"), True)
    assert threads == [5]


def test_two_processes_learn_the_same_with_decoded_pictures_and_without(
    mixed: Pictures, tmp_path_factory: pytest.TempPathFactory
) -> None:
    here = tmp_path_factory.mktemp("here")
    recipe = tiny_recipe(f"data.train={mixed.source}", "data.val=null", "loss.queue.length=0", "data.max_bad=1")
    (here / "tiny.yaml").write_text(dump_recipe(recipe))
    losses = []
    for keep in ("true", "false"):
        command = ("pretrain", "tiny.yaml", "--set", f"data.cache={keep}", "--out", f"run-{keep}", "--device", "cpu")
        for process in start_together(2, *command, cwd=here, LOCAL_WORLD_SIZE="2"):
            said = process.communicate(timeout=200)[1]
            assert process.returncode == 0, said
        lines = read_metrics(here / f"run-{keep}" / "metrics.jsonl")
        losses.append([(line["loss"], line["gradient_norm"]) for line in lines if line["kind"] == "step"])
    assert len(losses[0]) == 3
    assert losses[0] == losses[1]


def test_free_memory_is_the_least_of_what_the_machine_and_its_container_have(monkeypatch: pytest.MonkeyPatch) -> None:
    for machine, container, least in ((5e9, math.inf, 5e9), (5e9, 2e9, 2e9), (5e9, -1e6, 0.0)):
        monkeypatch.setattr(cache, "_of_system", lambda path, machine=machine: machine)
        monkeypatch.setattr(cache, "_of_container", lambda path, container=container: container)
        assert free_memory() == least


@pytest.mark.skipif(sys.platform != "linux", reason="read off /proc")
def test_free_memory_of_this_machine_is_a_part_of_what_it_has() -> None:
    assert 0 < cache._of_system(Path("/proc/meminfo")) < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_free_memory_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(
        "MemTotal:       100 kB\nMemFree:  1 kB\nMemAvailable:   60 kB\nHugePages_Total: 0\n"
    )
    assert cache._of_system(tmp_path / "meminfo") == 60 * 1024
    assert cache._of_system(tmp_path / "none") == cache.UNKNOWN_MEMORY


@pytest.mark.parametrize(
    ("folder", "names", "files"),
    [
        ("", ("memory.max", "memory.current"), "inactive_file"),
        ("memory", ("memory.limit_in_bytes", "memory.usage_in_bytes"), "total_inactive_file"),
    ],
)
def test_free_memory_of_a_container(folder: str, names: tuple[str, str], files: str, tmp_path: Path) -> None:
    assert cache._of_container(tmp_path) == math.inf
    (tmp_path / folder).mkdir(exist_ok=True)
    for name, text in ((names[0], "1000\n"), (names[1], "700\n"), ("memory.stat", f"anon 5\n{files} 300\n")):
        (tmp_path / folder / name).write_text(text)
    assert cache._of_container(tmp_path) == 600
    (tmp_path / folder / names[0]).write_text("max\n")
    assert cache._of_container(tmp_path) == math.inf

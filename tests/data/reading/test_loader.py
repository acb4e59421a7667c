"""Batches: the same for any number of workers, parts and processes, and from any step on."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from swav_cli.core.multicrop import MultiCrop
from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.loader import Batch, Crops, Order, epoch_order, load_batches
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError
from swav_cli.recipe.sections import AugmentRecipe, CropRecipe

KINDS = [CropRecipe(count=2, size=16, scale=(0.4, 1.0)), CropRecipe(count=1, size=8, scale=(0.2, 0.5))]
MAKE = MultiCrop(KINDS, AugmentRecipe(), seed=3)
COUNT, BATCH, EPOCHS = 22, 6, 3
STEPS = COUNT // BATCH


def batches(pictures: Pictures, workers: int = 0, first_step: int = 0, **options: Any) -> list[Batch]:
    order = Order(len(pictures), BATCH, EPOCHS, 3, first_step, **options)
    found = list(load_batches(pictures, MAKE, order, workers))
    assert len(found) == len(order)
    return found


def same(a: Batch, b: Batch) -> bool:
    return (
        all(torch.equal(x, y) for x, y in zip(a.crops, b.crops, strict=True))
        and torch.equal(a.numbers, b.numbers)
        and torch.equal(a.indices, b.indices)
        and a.bad == b.bad
    )


def joined(parts: list[Batch]) -> Batch:
    return Batch(
        [torch.cat(crops) for crops in zip(*(part.crops for part in parts), strict=True)],
        torch.cat([part.numbers for part in parts]),
        torch.cat([part.indices for part in parts]),
        [bad for part in parts for bad in part.bad],
    )


@pytest.fixture(scope="module")
def shapes() -> Pictures:
    return open_pictures(f"shapes:{COUNT}")


@pytest.fixture(scope="module")
def undisturbed(shapes: Pictures) -> list[Batch]:
    return batches(shapes)


def test_shapes_of_a_batch(undisturbed: list[Batch]) -> None:
    assert len(undisturbed) == STEPS * EPOCHS
    for batch in undisturbed:
        assert [crops.shape for crops in batch.crops] == [(BATCH, 2, 3, 16, 16), (BATCH, 1, 3, 8, 8)]
        assert all(crops.dtype == torch.uint8 for crops in batch.crops)
        assert batch.numbers.shape[:2] == (BATCH, 3)
        assert batch.indices.shape == (BATCH,)
        assert batch.bad == []


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers(workers: int, shapes: Pictures, undisturbed: list[Batch]) -> None:
    assert all(map(same, batches(shapes, workers), undisturbed))


@pytest.mark.parametrize("first", range(STEPS * EPOCHS + 1))
def test_from_any_step_on(first: int, shapes: Pictures, undisturbed: list[Batch]) -> None:
    late = batches(shapes, first_step=first)
    assert len(late) == STEPS * EPOCHS - first
    assert all(map(same, late, undisturbed[first:]))


@pytest.mark.parametrize("parts", [2, 3])
def test_parts_join_to_the_whole(parts: int, shapes: Pictures, undisturbed: list[Batch]) -> None:
    found = batches(shapes, parts=parts)
    for step, whole in enumerate(undisturbed):
        assert same(joined(found[step * parts : (step + 1) * parts]), whole)


def test_shares_of_processes_join_to_the_whole(shapes: Pictures, undisturbed: list[Batch]) -> None:
    half = [batches(shapes, share=lambda n, rank=rank: slice(rank * n // 2, (rank + 1) * n // 2)) for rank in (0, 1)]
    for step, whole in enumerate(undisturbed):
        assert same(joined([half[0][step], half[1][step]]), whole)


@pytest.mark.parametrize("count", [6, 22, 24, 100])
def test_an_epoch_shows_a_picture_at_most_once(count: int) -> None:
    order = list(Order(count, BATCH, EPOCHS, 0))
    steps = count // BATCH
    assert len(order) == steps * EPOCHS
    epochs = []
    for epoch in range(EPOCHS):
        items = [item for step in order[epoch * steps : (epoch + 1) * steps] for item in step]
        assert {number for number, _ in items} == {epoch}
        indices = [index for _, index in items]
        assert len(set(indices)) == len(indices) == steps * BATCH
        assert set(indices) <= set(range(count))
        epochs.append(indices)
    assert epochs[0] != epochs[1] != epochs[2]


def test_pictures_left_over_have_their_turn_in_other_epochs() -> None:
    seen = {index for step in Order(COUNT, BATCH, 10, 0) for _, index in step}
    assert seen == set(range(COUNT))


def test_orders_depend_on_seed_and_epoch() -> None:
    assert (epoch_order(50, 1, 2) == epoch_order(50, 1, 2)).all()
    assert sorted(epoch_order(50, 1, 2).tolist()) == list(range(50))
    assert len({tuple(epoch_order(50, seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


# --- bad pictures -------------------------------------------------------------------------------------------------


class SomeBad(Pictures):
    """Pictures of one gray level each, some of which can't be read."""

    source, channels = "memory", 3

    def __init__(self, count: int, bad: set[int]) -> None:
        self.count, self.bad = count, bad

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Tensor:
        if index in self.bad:
            raise BadPicture("is bad")
        return torch.full((3, 20, 20), index, dtype=torch.uint8)

    def name(self, index: int) -> str:
        return f"number {index}"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_picture_is_replaced_and_reported(workers: int) -> None:
    bad = {3, 8, 15}
    pictures = SomeBad(COUNT, bad)
    found = batches(pictures, workers)
    assert all(map(same, found, batches(pictures)))
    for batch in found:
        wanted = bad & set(batch.indices.tolist())
        assert wanted <= {index for index, _ in batch.bad} <= bad
        assert {why for _, why in batch.bad} <= {"is bad"}
        shown = batch.crops[0][:, 0, 0, 0, 0].tolist()
        for index, level in zip(batch.indices.tolist(), shown, strict=True):
            assert level not in bad
            assert (level == index) == (index not in bad)
    assert any(batch.bad for batch in found)


def test_its_place_in_the_batch_does_not_change_a_replacement() -> None:
    crops = Crops(SomeBad(50, {4}), MAKE)
    alone = crops.__getitems__([(1, 4)])
    together = crops.__getitems__([(1, 9), (1, 4)])
    assert torch.equal(alone.crops[0][0], together.crops[0][1])
    assert torch.equal(alone.numbers[0], together.numbers[1])
    others = {int(crops.__getitems__([(epoch, 4)]).crops[0][0, 0, 0, 0, 0]) for epoch in range(10)}
    assert len(others) > 3


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_but_bad_pictures_is_one_line(workers: int) -> None:
    with pytest.raises(UserError) as raised:
        batches(SomeBad(COUNT, set(range(COUNT))), workers)
    message = str(raised.value)
    assert message.startswith("memory: number ")
    assert "can't be read (is bad), nor can any of 100 others" in message
    assert "\n" not in message


def test_a_bad_file_is_replaced(tmp_path: Path) -> None:
    for number in range(8):
        Image.new("RGB", (9, 9), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "5.png").write_text("no picture")
    pictures = open_pictures(str(tmp_path))
    batch = Crops(pictures, MAKE).__getitems__([(0, index) for index in range(8)])
    assert batch.bad == [(5, "a text, not a picture")]
    assert batch.indices.tolist() == list(range(8))


def spoil(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Every way in which a picture that was found can fail to be read, by name, with what is said of it."""
    (root / "empty.png").write_bytes(b"")
    (root / "corrupt.png").write_bytes((root / "00.png").read_bytes()[:60])
    Image.new("1", (14_000, 13_000)).save(root / "huge.png")  # 180 megapixels in 25 kB
    (root / "gone.png").unlink()
    (root / "replaced.png").unlink()
    (root / "replaced.png").mkdir()
    read_bytes = Path.read_bytes

    def guarded(path: Path) -> bytes:  # whoever runs the tests may be allowed to read everything
        if path.name == "secret.png":
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", guarded)
    return {
        "empty.png": "the file is empty", "corrupt.png": "truncated", "huge.png": "too many pixels to be a picture",
        "gone.png": "No such file", "replaced.png": "Is a directory", "secret.png": "Permission denied",
    }  # fmt: skip


@pytest.mark.parametrize("workers", [0, 2])
def test_whatever_is_wrong_with_a_picture(workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is named once an epoch with its reason, others stand in for it, and the run goes on."""
    for number in range(18):
        Image.effect_noise((12, 12), 50).save(tmp_path / f"{number:02d}.png")
    for name in ("empty", "corrupt", "huge", "gone", "replaced", "secret"):
        Image.new("RGB", (9, 9)).save(tmp_path / f"{name}.png")
    (tmp_path / "folder.png").mkdir()  # a folder from the start is none of the pictures
    pictures = open_pictures(str(tmp_path))
    assert len(pictures) == 24
    faults = spoil(tmp_path, monkeypatch)
    found = batches(pictures, workers)
    assert len(found) == 12
    for epoch in range(EPOCHS):
        own = found[4 * epoch : 4 * epoch + 4]
        asked = [index for batch in own for index in batch.indices.tolist()]
        assert sorted(asked) == list(range(24))
        told = {Path(pictures.name(index)).name: why for batch in own for index, why in batch.bad}
        assert set(told) == set(faults)
        for name, why in told.items():
            assert faults[name] in why


# --- workers ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="a matter of Linux")
def test_workers_outlive_a_signal_to_all(shapes: Pictures, undisturbed: list[Batch]) -> None:
    """A cluster sends SIGTERM to every process; the main one has then still to finish its step and save."""
    found = load_batches(shapes, MAKE, Order(COUNT, BATCH, EPOCHS, 3), 1)
    first = next(found)
    (worker,) = multiprocessing.active_children()  # of all children, the suite's other ones would end
    subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)  # from a process that is not its parent
    assert all(map(same, [first, *found], undisturbed))


def test_numbers_are_drawn_for_the_picture_that_was_asked_for() -> None:
    expected = MAKE(torch.zeros(3, 20, 20, dtype=torch.uint8), 2, 7)[1]
    assert np.array_equal(Crops(SomeBad(50, {7}), MAKE).__getitems__([(2, 7)]).numbers[0], expected)

"""Crops that are cut where the network computes are those of the processes that read, level for level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from swav_cli.core.device_crops import DeviceCrops, check_room
from swav_cli.core.multicrop import MultiCrop
from swav_cli.core.swav import Trainer
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.boxes import Boxes
from swav_cli.data.reading.cache import CachedPictures
from swav_cli.data.reading.loader import Crops, _as_arrays, _as_tensors
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError
from swav_cli.recipe.sections import AugmentRecipe, CropRecipe
from swav_cli.run.metrics import read_metrics
from swav_cli.tasks.pretrain import pretrain
from tests.conftest import tiny_recipe

CPU = torch.device("cpu")
CUDA = torch.device("cuda")


class Noise(Pictures):
    """Pictures of noise, in which each misplaced pixel shows."""

    source = "noise"

    def __init__(self, channels: int, sides: list[tuple[int, int]]) -> None:
        rng = np.random.default_rng(0)
        self.channels = channels
        self.all = [torch.from_numpy(rng.integers(0, 256, (channels, *side), dtype=np.uint8)) for side in sides]

    def __len__(self) -> int:
        return len(self.all)

    def read(self, index: int) -> Tensor:
        return self.all[index]


@pytest.mark.parametrize(
    ("channels", "size", "sides"),
    [
        (3, 32, [(32, 32)]),
        (3, 16, [(32, 32), (28, 40), (50, 20)]),
        (3, 12, [(64, 48), (97, 33)]),  # up to eight times smaller, for which float32 is too coarse
        (1, 16, [(30, 45)]),
        (5, 24, [(30, 45)]),
    ],
)
def test_each_crop_is_the_one_that_is_cut_elsewhere(
    channels: int, size: int, sides: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = [CropRecipe(count=8, size=size, scale=(0.05, 1)), CropRecipe(count=3, size=9, scale=(0.3, 0.3))]
    multicrop = MultiCrop(kinds, AugmentRecipe(), seed=3)
    pictures = CachedPictures(Noise(channels, sides), threads=1)
    items = [(epoch, index) for epoch in range(3) for index in range(len(pictures))]
    cut = Crops(pictures, multicrop).__getitems__(items)
    drawn = Boxes(pictures, multicrop.draw).__getitems__(items)
    assert drawn.crops == []
    assert drawn.boxes is not None
    assert torch.equal(drawn.numbers, cut.numbers)
    monkeypatch.setattr("swav_cli.core.device_crops.AT_ONCE", 2 * 8 * size * 97 * max(2, channels))  # parts of two
    for ours, theirs in zip(DeviceCrops(pictures, kinds, CPU)(drawn.boxes), cut.crops, strict=True):
        assert torch.equal(ours, theirs)


def test_a_run_is_the_same_whoever_cuts_its_crops(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that can't be read among them, and one process that reads, which draws boxes alone."""
    monkeypatch.chdir(photos.parent)
    broken = photos / "plain" / "06.png"
    broken.write_bytes(broken.read_bytes()[:40])
    losses = {}
    for cache, workers in (("true", 0), ("device", 0), ("device", 1)):
        recipe = tiny_recipe(
            f"data.train={photos}", "data.val=null", "data.max_bad=1", "training.epochs=1", "loss.queue.length=0",
            f"data.cache={cache}", f"training.workers={workers}",
        )  # fmt: skip
        folder = Path(f"{cache}-{workers}")
        found = pretrain(recipe, folder, device="cpu")
        assert found["bad_pictures"] == 1
        losses[folder.name] = [
            line["loss"] for line in read_metrics(folder / "metrics.jsonl") if line["kind"] == "step"
        ]
    assert len(losses["true-0"]) == 5
    assert losses["true-0"] == losses["device-0"] == losses["device-1"]


def test_nothing_is_cut_by_processes_that_read() -> None:
    recipe = tiny_recipe("data.cache=device")
    pictures = CachedPictures(open_pictures("shapes:48"), threads=1)
    trainer = Trainer(recipe, pictures, CPU)
    trainer.keep_on_device(pictures)
    batches = trainer._batches(0)
    batch = next(batches)
    batches.close()
    assert batch.boxes is not None
    assert (batch.crops, batch.boxes.shape) == ([], (8, 3, 5))
    again = _as_tensors(_as_arrays(batch), pin_memory=False)  # as it comes through a pipe
    assert again.boxes is not None
    assert torch.equal(again.boxes, batch.boxes)
    assert [tuple(view.shape) for view in trainer.views(again)] == [(16, 3, 16, 16), (8, 3, 8, 8)]


def test_pictures_that_do_not_fit_onto_the_device_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = open_pictures("shapes:48")
    needed = 48 * pictures.read(0).numel()
    for free, fits in ((needed, True), (needed - 1, False)):
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda device, told=free: (told, 2 * told))
        if fits:
            check_room(pictures, CUDA)
            continue
        with pytest.raises(UserError, match=r"data.cache \(device\): shapes:48.* takes about 0.0 GB.*set it to auto"):
            check_room(pictures, CUDA)

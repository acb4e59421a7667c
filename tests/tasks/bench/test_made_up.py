"""Pictures that are made up in place of a recipe's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from swav_cli.data.reading.cache import CachedPictures
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError
from swav_cli.tasks.bench.made_up import Clouds, Repeated, as_files, bytes_a_file, usual_size
from swav_cli.tasks.bench.subject import subject
from tests.conftest import tiny_recipe

CPU = torch.device("cpu")


def test_clouds_take_as_many_bytes_as_photographs(tmp_path: Path) -> None:
    height, width = usual_size(224)
    files = as_files(Clouds(2, (height, width)), 2, tmp_path)
    assert [tuple(files.read(index).shape) for index in range(2)] == [(3, 375, 500)] * 2
    assert 0.4 < bytes_a_file(tmp_path) / (height * width) < 0.8  # ImageNet's: 110 kB for 185,000 pixels
    assert not torch.equal(files.read(0), files.read(1))


def test_other_channels(tmp_path: Path) -> None:
    assert as_files(Clouds(1, (8, 8), channels=1), 1, tmp_path).read(0).shape == (1, 8, 8)
    with pytest.raises(UserError, match="5 channels are no JPEG files"):
        as_files(Clouds(1, (8, 8), channels=5), 1, tmp_path)


def test_the_first_comes_again_behind_the_last() -> None:
    pictures = open_pictures("shapes:3")
    many = Repeated(pictures, 8)
    assert len(many) == 8
    assert torch.equal(many.read(7), pictures.read(1))
    assert many.name(3) == pictures.name(0)


def test_pictures_are_made_up_where_the_recipes_own_are_not_there_and_none_are_named(tmp_path: Path) -> None:
    recipe = tiny_recipe("data.train=nowhere/train", "data.mean=auto", "data.std=auto")
    with pytest.raises(UserError, match="no such folder"):
        subject(recipe, CPU, True, tmp_path, lambda *_: None)
    given = subject(recipe, CPU, False, tmp_path, lambda *_: None)
    assert given.told.startswith("made up (nowhere/train: no such folder")
    assert given.lying.in_memory
    again = given.lying.opened(recipe)
    assert len(again) == len(given.pictures) == 800
    assert torch.equal(again.read(5), given.pictures.read(5))


def test_pictures_kept_on_the_device_are_there_as_many_as_a_run_has(tmp_path: Path) -> None:
    recipe = tiny_recipe("data.train=nowhere", "data.cache=device", "training.batch_size=2", "loss.queue.length=0")
    given = subject(recipe, CPU, False, tmp_path, lambda *_: None)
    assert isinstance(given.pictures, CachedPictures)
    assert len(given.pictures) == given.lying.pictures == 512


def test_nothing_is_fetched_that_nobody_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swav_cli.tasks.bench.subject.training_pictures", lambda *_: pytest.fail("opened"))
    given = subject(tiny_recipe("data.train=torchvision:CIFAR10"), CPU, False, tmp_path, lambda *_: None)
    assert "name torchvision:CIFAR10 with --data" in given.told

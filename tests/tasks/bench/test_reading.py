"""The loader is timed by itself."""

from __future__ import annotations

import torch

from swav_cli.data.sources import open_pictures
from swav_cli.tasks.bench.reading import measure_loader
from tests.conftest import tiny_recipe


def test_a_loader_is_timed_with_its_processes() -> None:
    recipe = tiny_recipe("training.epochs=100000", "data.cache=false")
    assert measure_loader(recipe, open_pictures("shapes:16"), 1, torch.device("cpu"), 0.1) > 0

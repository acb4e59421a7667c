from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from swav_cli.report.sheet import save_crops, save_rows


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_crops_of_several_sizes_and_channels(tmp_path: Path, channels: int) -> None:
    views = [torch.rand(5, channels, size, size) for size in (32, 32, 16)]
    save_crops(tmp_path / "c.png", views, torch.zeros(channels), torch.ones(channels))
    with Image.open(tmp_path / "c.png") as sheet:
        assert sheet.mode == "RGB"
        assert np.asarray(sheet).min() < 200


def test_normalisation_is_undone(tmp_path: Path) -> None:
    mean, std = torch.tensor([0.5, 0.5, 0.5]), torch.tensor([0.25, 0.25, 0.25])
    red = torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(3, 96, 96)
    save_crops(tmp_path / "c.png", [((red - mean[:, None, None]) / std[:, None, None])[None]], mean, std)
    with Image.open(tmp_path / "c.png") as sheet:
        assert sheet.getpixel((sheet.width // 2, sheet.height // 2)) == (255, 0, 0)


def test_rows_of_pictures_of_any_shape(tmp_path: Path) -> None:
    tall, small = torch.zeros(3, 300, 200, dtype=torch.uint8), torch.zeros(1, 8, 8, dtype=torch.uint8)
    save_rows(tmp_path / "r.png", [[tall, small], [small, tall], [tall, tall]])
    with Image.open(tmp_path / "r.png") as sheet:
        assert (sheet.width, sheet.height) == (2 * 100, 3 * 100)

"""Features in the order of the pictures, from the middle square that is published practice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose, Resize
from torchvision.transforms import functional as tv

from swav_cli.data.sources import Pictures, open_pictures
from swav_cli.evaluate.features import extract_features, middle_square

SHAPES = [(40, 60), (60, 40), (33, 200), (200, 33), (32, 32), (31, 32), (500, 375), (7, 9), (1, 1), (57, 77), (37, 36)]


def photo(height: int, width: int, channels: int = 3) -> Tensor:
    small = np.random.default_rng(height).integers(0, 256, (6, 8, channels), dtype=np.uint8)
    planes = [
        Image.fromarray(small[:, :, c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(channels)
    ]
    return torch.from_numpy(np.stack([np.asarray(plane) for plane in planes], axis=2)).permute(2, 0, 1)


@pytest.mark.parametrize("size", [32, 96, 224])
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_the_middle_square_is_torchvisions(height: int, width: int, size: int) -> None:
    picture = photo(height, width)
    if height == width == size:
        pytest.skip("stays as it is")
    published = Compose([Resize(round(size * 256 / 224)), CenterCrop(size)])
    theirs = tv.pil_to_tensor(published(Image.fromarray(picture.permute(1, 2, 0).numpy())))
    ours = middle_square(picture, size)
    assert ours.shape == (3, size, size)
    assert ours.dtype == torch.uint8
    off = (ours.int() - theirs.int()).abs()
    assert int(off.max()) <= 2
    assert float(off.float().mean()) < 0.5


def test_a_square_of_that_size_stays_as_it_is() -> None:
    picture = photo(32, 32)
    assert torch.equal(middle_square(picture, 32), picture)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_numbers_of_channels(channels: int) -> None:
    assert middle_square(photo(40, 60, channels), 32).shape == (channels, 32, 32)


MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]


def features(pictures: Pictures, **options: Any) -> Tensor:
    def function(x: Tensor) -> Tensor:
        return torch.stack([x.mean((1, 2, 3)), x.amax((1, 2, 3)), x[:, 0, 0, 0]], dim=1)

    return extract_features(function, pictures, size=32, mean=MEAN, std=STD, device=torch.device("cpu"), **options)


def test_rows_are_pictures() -> None:
    pictures = open_pictures("shapes:10")
    found = features(pictures)
    assert found.shape == (10, 3)
    assert found.dtype == torch.float32
    for index in range(10):
        x = (pictures.read(index).float() / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        torch.testing.assert_close(found[index], torch.stack([x.mean(), x.max(), x[0, 0, 0]]))


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (4, 0), (100, 0), (4, 1), (3, 2)])
def test_rows_do_not_depend_on_batches_or_workers(batch_size: int, workers: int) -> None:
    pictures = open_pictures("shapes:10")
    found = features(pictures, batch_size=batch_size, workers=workers)
    torch.testing.assert_close(found, features(pictures), atol=1e-6, rtol=1e-6)


def test_a_bad_picture_keeps_its_row(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (32, 32), (100 * number, 9, 9)).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"")
    found = features(open_pictures(str(tmp_path)))
    assert found[1].isnan().all()
    assert float(found[2, 2]) == pytest.approx((200 / 255 - 0.5) / 0.2)


def test_no_gradient_and_float32_whatever_the_precision() -> None:
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 4))
    found = extract_features(
        linear, open_pictures("shapes:4"), size=32, mean=MEAN, std=STD, device=torch.device("cpu"), precision="bf16"
    )
    assert found.dtype == torch.float32
    assert not found.requires_grad

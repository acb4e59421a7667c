"""Features in the order of the pictures, from the middle square that is published practice."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose, Resize
from torchvision.transforms import functional as tv

from swav_cli.core.weights import About
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading import loader
from swav_cli.data.reading.limits import Limits
from swav_cli.data.sources import open_pictures
from swav_cli.evaluate.features import extract_features, middle_square, stream_features
from swav_cli.evaluate.inference import Inference

SHAPES = [(40, 60), (60, 40), (33, 200), (200, 33), (32, 32), (31, 32), (500, 375), (7, 9), (1, 1), (57, 77), (37, 36)]


def photo(height: int, width: int, channels: int = 3) -> Tensor:
    small = np.random.default_rng(height).integers(0, 256, (6, 8, channels), dtype=np.uint8)
    planes = [
        Image.fromarray(small[:, :, c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(channels)
    ]
    return torch.from_numpy(np.stack([np.asarray(plane) for plane in planes], axis=2)).permute(2, 0, 1)


@pytest.mark.parametrize(("size", "share"), [(32, 224 / 256), (96, 224 / 256), (224, 224 / 256), (96, 1.0), (96, 0.95)])
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_the_middle_square_is_torchvisions(height: int, width: int, size: int, share: float) -> None:
    picture = photo(height, width)
    if height == width == size:
        pytest.skip("stays as it is")
    published = Compose([Resize(round(size / share)), CenterCrop(size)])
    theirs = tv.pil_to_tensor(published(Image.fromarray(picture.permute(1, 2, 0).numpy())))
    ours = middle_square(picture, size, share)
    assert ours.shape == (3, size, size)
    assert ours.dtype == torch.uint8
    off = (ours.int() - theirs.int()).abs()
    assert int(off.max()) <= 2
    assert float(off.float().mean()) < 0.5


def whole_then_middle(picture: Tensor, size: int) -> Tensor:
    """As published: all of the picture resized, then its middle cut out."""
    height, width = picture.shape[1:]
    short = round(size * 256 / 224)
    shape = (short, int(short * width / height)) if height < width else (int(short * height / width), short)
    resized = F.interpolate(picture[None], shape, mode="bilinear", antialias=True)[0]
    top, left = round((shape[0] - size) / 2), round((shape[1] - size) / 2)
    return resized[:, top : top + size, left : left + size]


@pytest.mark.parametrize(("height", "width"), [*SHAPES, (1000, 125), (40, 320), (3, 24)])
def test_an_ordinary_picture_is_resized_whole(height: int, width: int) -> None:
    picture = photo(height, width)
    if (height, width) != (32, 32):
        assert torch.equal(middle_square(picture, 32), whole_then_middle(picture, 32))


def noting(made: list[int], resize: Any, picture: Tensor, shape: tuple[int, int], **how: Any) -> Tensor:
    made.append(math.prod(shape))
    return resize(picture, shape, **how)


@pytest.mark.parametrize("long", [200, 201, 999, 3000])
@pytest.mark.parametrize("short", [1, 2, 7, 20])
@pytest.mark.parametrize("size", [32, 96])
def test_of_a_thin_picture_the_middle_alone_is_resized(
    short: int, long: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the same pixels, but for where the whole one would begin between two of them."""
    line = np.sin(np.arange(long) / long * 40) * 100 + 128
    upright = torch.from_numpy(line.astype(np.uint8))[None, :, None].expand(3, long, short).contiguous()
    for picture in (upright, upright.transpose(1, 2).contiguous()):
        wanted = whole_then_middle(picture, size)
        made: list[int] = []
        with monkeypatch.context() as patched:
            patched.setattr(F, "interpolate", partial(noting, made, F.interpolate))
            found = middle_square(picture, size)
        assert found.shape == (3, size, size)
        assert int((found.int() - wanted.int()).abs().max()) <= 6
        assert max(made) < 8 * size**2


def test_a_line_of_sixty_thousand_pixels() -> None:
    """Resized whole at 224 pixels it would take twelve gigabytes."""
    line = (torch.arange(60_000) // 235).to(torch.uint8)[None, :, None].expand(3, -1, -1)
    for picture in (line, line.transpose(1, 2)):
        assert (middle_square(picture, 224) == 127).all()


def test_a_square_of_that_size_stays_as_it_is() -> None:
    picture = photo(32, 32)
    assert torch.equal(middle_square(picture, 32), picture)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_numbers_of_channels(channels: int) -> None:
    assert middle_square(photo(40, 60, channels), 32).shape == (channels, 32, 32)


MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
ABOUT = About("any", size=32, mean=MEAN, std=STD)


def features(pictures: Pictures, **options: Any) -> Tensor:
    def function(x: Tensor) -> Tensor:
        return torch.stack([x.mean((1, 2, 3)), x.amax((1, 2, 3)), x[:, 0, 0, 0]], dim=1)

    return extract_features(function, pictures, ABOUT, Inference(**options))


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


def kill_one(after: int) -> Callable[[Tensor], Tensor]:
    """A function of pictures that kills a process which reads them, once so many batches have come."""
    seen = 0

    def function(x: Tensor) -> Tensor:
        nonlocal seen
        seen += 1
        if seen == after:
            child = multiprocessing.active_children()[0]
            os.kill(child.pid or 0, signal.SIGKILL)
            child.join()
        return x.mean((2, 3))

    return function


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes of Unix")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_worker_is_replaced(workers: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(40):
        Image.new("RGB", (32, 32), (number, 9, 9)).save(tmp_path / f"{number:02}.png")
    (tmp_path / "31.png").write_bytes(b"")
    pictures, chosen = open_pictures(str(tmp_path)), [*range(3, 40), 3, 4]
    rows = list(stream_features(kill_one(5), pictures, ABOUT, Inference(batch_size=2, workers=workers), chosen))
    assert torch.cat([part.indices for part in rows]).tolist() == chosen
    assert [index for part in rows for index, _ in part.bad] == [31]
    alone = stream_features(kill_one(0), pictures, ABOUT, Inference(batch_size=2, workers=0), chosen)
    plain = torch.cat([part.values for part in alone])
    torch.testing.assert_close(torch.cat([part.values for part in rows]), plain, equal_nan=True, rtol=0, atol=0)
    said = "a process that reads pictures was ended by SIGKILL; reading goes on with new ones\n"
    assert capsys.readouterr().err == said


def test_little_shared_memory(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = open_pictures("shapes:10")
    with monkeypatch.context() as small:
        small.setattr(loader, "limits", lambda: Limits(1000, 20000))
        found = features(pictures, batch_size=4, workers=1)
    assert "pictures come through pipes instead" in capsys.readouterr().err
    assert torch.equal(found, features(pictures, batch_size=4))


@pytest.mark.parametrize("workers", [0, 2])
def test_no_picture_at_all(workers: int) -> None:
    how = Inference(workers=workers)
    assert list(stream_features(torch.flatten, open_pictures("shapes:10"), ABOUT, how, [])) == []


def test_no_gradient_and_float32_whatever_the_precision() -> None:
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 4))
    found = extract_features(linear, open_pictures("shapes:4"), ABOUT, Inference(precision="bf16"))
    assert found.dtype == torch.float32
    assert not found.requires_grad

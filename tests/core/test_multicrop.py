"""Crops: the boxes of RandomResizedCrop, cut as PIL would, from numbers that depend on (seed, epoch, index) alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as tv

from swav_cli.core.multicrop import ASPECT, COLUMNS, MultiCrop, Reduction, cut, draw_boxes, middle_box
from swav_cli.recipe.sections import AugmentRecipe, CropRecipe

SIZES = [CropRecipe(count=2, size=32, scale=(0.14, 1.0)), CropRecipe(count=3, size=16, scale=(0.05, 0.14))]


def picture(height: int = 60, width: int = 80, channels: int = 3, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (7, 9, channels), dtype=np.uint8)
    planes = [
        Image.fromarray(small[:, :, c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(channels)
    ]
    grain = np.stack([np.asarray(plane) for plane in planes], axis=2) + rng.normal(0, 10, (height, width, channels))
    return torch.from_numpy(grain.clip(0, 255).astype(np.uint8)).permute(2, 0, 1)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Kolmogorov and Smirnov's: the largest difference between two samples' distributions."""
    values = np.concatenate([a, b])
    shares = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())


@pytest.mark.parametrize(
    ("height", "width", "scale"),
    [
        (375, 500, (0.14, 1.0)), (375, 500, (0.05, 0.14)), (500, 333, (0.08, 1.0)), (32, 32, (0.4, 1.0)),
        (90, 400, (0.2, 1.0)), (400, 90, (0.2, 1.0)), (20, 400, (0.3, 1.0)),
    ],
)  # fmt: skip
def test_boxes_are_distributed_as_torchvisions(height: int, width: int, scale: tuple[float, float]) -> None:
    count = 3000
    ours = draw_boxes(np.random.default_rng(0), height, width, np.array([scale] * count))
    torch.manual_seed(0)
    empty = torch.empty(1, height, width)
    theirs = np.array([RandomResizedCrop.get_params(empty, list(scale), list(ASPECT)) for _ in range(count)])
    limit = 1.95 * (2 / count) ** 0.5  # such a difference comes by chance once in a thousand times
    for boxes in (ours, theirs):
        assert (boxes[:, 0] + boxes[:, 2] <= height).all()
        assert (boxes[:, 1] + boxes[:, 3] <= width).all()
        assert boxes[:, :2].min() >= 0
        assert boxes[:, 2:].min() > 0
    for measure in (
        lambda b: b[:, 2] * b[:, 3], lambda b: b[:, 3] / b[:, 2], lambda b: b[:, 0], lambda b: b[:, 1],
        lambda b: b[:, 0] + b[:, 2] / 2, lambda b: b[:, 1] + b[:, 3] / 2,
    ):  # fmt: skip
        assert distance(measure(ours), measure(theirs)) < limit


@pytest.mark.parametrize(("height", "width"), [(10, 1000), (1000, 10), (1, 1), (1, 50), (50, 1), (30, 40), (40, 30)])
def test_the_middle_box_is_torchvisions(height: int, width: int) -> None:
    impossible = [4.0, 4.0]  # no box of four times the area fits
    theirs = RandomResizedCrop.get_params(torch.empty(1, height, width), impossible, list(ASPECT))
    assert middle_box(height, width) == theirs
    ours = draw_boxes(np.random.default_rng(0), height, width, np.array([impossible] * 3))
    assert ours.tolist() == [list(theirs)] * 3


def test_a_picture_of_one_pixel_has_crops() -> None:
    crops, numbers = MultiCrop(SIZES, AugmentRecipe(), 0)(torch.full((3, 1, 1), 7, dtype=torch.uint8), 0, 0)
    assert [crop.shape for crop in crops] == [(2, 3, 32, 32), (3, 3, 16, 16)]
    assert all((crop == 7).all() for crop in crops)
    assert numbers.shape == (5, COLUMNS)


def test_crops_depend_on_seed_epoch_and_index_alone() -> None:
    source = picture()
    make = MultiCrop(SIZES, AugmentRecipe(), seed=3)
    first = make(source, 2, 5)
    make(picture(seed=1), 0, 0)
    np.random.seed(1)
    torch.manual_seed(1)
    for other in (make(source, 2, 5), MultiCrop(SIZES, AugmentRecipe(), seed=3)(source, 2, 5)):
        assert all(torch.equal(a, b) for a, b in zip(first[0], other[0], strict=True))
        assert torch.equal(first[1], other[1])
    for changed in (make(source, 3, 5), make(source, 2, 6), MultiCrop(SIZES, AugmentRecipe(), seed=4)(source, 2, 5)):
        assert not torch.equal(first[1], changed[1])
        assert not torch.equal(first[0][0], changed[0][0])


def test_boxes_stay_where_colours_change() -> None:
    source = picture()
    crops, _ = MultiCrop(SIZES, AugmentRecipe(), 0)(source, 0, 0)
    again, _ = MultiCrop(SIZES, AugmentRecipe(flip=0, jitter=0), 0)(source, 0, 0)
    assert all(torch.equal(a, b) for a, b in zip(crops, again, strict=True))


BOXES = [(0, 0, 60, 80), (3, 7, 40, 50), (10, 20, 9, 12), (59, 79, 1, 1), (0, 0, 1, 80), (5, 5, 32, 32)]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("channels", [1, 3])
def test_cut_is_pils(box: tuple[int, int, int, int], channels: int) -> None:
    source = picture(channels=channels)
    pixels = source.permute(1, 2, 0).numpy()
    opened = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    theirs = tv.pil_to_tensor(tv.resized_crop(opened, *box, [24, 24], InterpolationMode.BILINEAR))
    ours = cut(source, box, 24)[0]
    assert ours.dtype == torch.uint8
    assert int((ours.int() - theirs.int()).abs().max()) <= 1


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 8])
def test_cut_is_the_exact_resize_rounded(box: tuple[int, int, int, int], channels: int) -> None:
    source = picture(channels=channels)
    top, left, height, width = box
    exact = torch.nn.functional.interpolate(
        source[None, :, top : top + height, left : left + width].double(), (24, 24), mode="bilinear", antialias=True
    )
    for laid_out in (source, source.contiguous()):
        assert float((cut(laid_out, box, 24).double() - exact).abs().max()) <= 2
    assert torch.equal(cut(source, box, 24), cut(source.contiguous(), box, 24))


def test_a_cut_leaves_the_picture_as_it_is() -> None:
    source = picture()
    before = source.clone()
    MultiCrop(SIZES, AugmentRecipe(), 0)(source, 0, 0)
    assert torch.equal(source, before)


@pytest.mark.parametrize(("height", "width"), [(3000, 4000), (4000, 3000), (700, 1900), (5000, 400), (375, 500)])
def test_no_crop_of_a_picture_decoded_smaller_is_enlarged(height: int, width: int) -> None:
    kinds = [CropRecipe(count=2, size=64, scale=(0.25, 1.0)), CropRecipe(count=4, size=32, scale=(0.05, 0.3))]
    by = Reduction.of(kinds)(height, width)
    scales = np.array([kind.scale for kind in kinds for _ in range(kind.count)])
    sizes = np.array([kind.size for kind in kinds for _ in range(kind.count)])

    def spare(factor: int) -> float:
        drawn = [
            draw_boxes(np.random.default_rng(seed), height // factor, width // factor, scales)[:, 2:] / sizes[:, None]
            for seed in range(400)
        ]
        return float(np.min(drawn))

    assert by == 1 or spare(by) > 1.95  # whole pixels
    assert by == 8 or spare(2 * by) < 2.1


def test_small_pictures_are_decoded_whole() -> None:
    assert Reduction.of([CropRecipe(count=2, size=224, scale=(0.14, 1.0))])(375, 500) == 1

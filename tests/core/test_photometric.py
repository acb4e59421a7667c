"""Colour operations against PIL's, as torchvision's transforms use them, at the same strengths."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torchvision.transforms import functional as tv

from swav_cli.core.multicrop import (
    BRIGHTNESS,
    COLUMNS,
    CONTRAST,
    FIRST_JITTER,
    FLIP,
    GRAY,
    HUE,
    SATURATION,
    SIGMA,
    draw_colours,
)
from swav_cli.core.photometric import NEUTRAL, blur_weights, coloured_at_once, recolour
from swav_cli.recipe.sections import AugmentRecipe

ZERO, ONE = torch.zeros(3), torch.ones(3)


def smooth(seed: int, size: int = 48) -> Image.Image:
    """Soft patches of colour: what photographs are made of."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return small.resize((size, size), Image.Resampling.BICUBIC)


def noisy(seed: int, size: int = 48) -> Image.Image:
    """A smooth picture with grain."""
    rng = np.random.default_rng(seed)
    grain = np.asarray(smooth(seed, size)) + rng.normal(0, 20, (size, size, 3))
    return Image.fromarray(grain.clip(0, 255).astype(np.uint8))


def noise(seed: int, size: int = 48) -> Image.Image:
    """Nothing but noise: the hardest case, and no picture."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


PICTURES = [make(seed) for seed in range(8) for make in (smooth, noisy, noise)]


def tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def neutral(count: int = 1) -> Tensor:
    numbers = torch.zeros(count, COLUMNS)
    for column, value in NEUTRAL.items():
        numbers[:, column] = value
    numbers[:, FIRST_JITTER:] = torch.arange(4)
    return numbers


def grey_levels(picture: Tensor, numbers: Tensor) -> Tensor:
    return recolour(picture[None], numbers[None], ZERO, ONE)[0] * 255


def as_pil_does(picture: Image.Image, numbers: Tensor) -> Image.Image:
    """The chain of torchvision's transforms and PIL's blur, one picture at a time."""
    row = numbers.tolist()
    jitters: list[Callable[[Image.Image], Image.Image]] = [
        lambda p: tv.adjust_brightness(p, row[BRIGHTNESS]),
        lambda p: tv.adjust_contrast(p, row[CONTRAST]),
        lambda p: tv.adjust_saturation(p, row[SATURATION]),
        lambda p: tv.adjust_hue(p, row[HUE]) if row[HUE] else p,
    ]
    if row[FLIP]:
        picture = tv.hflip(picture)
    for which in row[FIRST_JITTER:]:
        picture = jitters[int(which)](picture)
    if row[GRAY]:
        picture = tv.to_grayscale(picture, num_output_channels=3)
    return picture.filter(ImageFilter.GaussianBlur(row[SIGMA])) if row[SIGMA] else picture


def errors(rows: list[tuple[Image.Image, Tensor]]) -> np.ndarray:
    return np.array(
        [float((grey_levels(tensor(p), row) - tensor(as_pil_does(p, row))).abs().mean()) for p, row in rows]
    )


STRENGTHS = [
    (FLIP, 1.0),
    *((BRIGHTNESS, factor) for factor in (0.2, 0.6, 1.3, 1.8)),
    *((CONTRAST, factor) for factor in (0.2, 0.6, 1.3, 1.8)),
    *((SATURATION, factor) for factor in (0.0, 0.2, 0.6, 1.3, 1.8)),
    *((HUE, turn) for turn in (-0.5, -0.2, -0.05, 0.03, 0.1, 0.2, 0.5)),
    (GRAY, 1.0),
    *((SIGMA, sigma) for sigma in (0.1, 0.3, 0.5, 1.0, 1.5, 2.0)),
]


@pytest.mark.parametrize(("column", "strength"), STRENGTHS)
def test_each_operation_is_pils(column: int, strength: float) -> None:
    numbers = neutral()[0]
    numbers[column] = strength
    off = errors([(picture, numbers) for picture in PICTURES])
    assert off.max() <= 2
    assert np.median(off) <= 1


def test_the_whole_chain_in_any_order_is_pils() -> None:
    drawn = torch.from_numpy(draw_colours(np.random.default_rng(0), 240, AugmentRecipe()))
    off = errors([(PICTURES[i % len(PICTURES)], row) for i, row in enumerate(drawn)])
    assert off.max() <= 2
    assert np.median(off) <= 1


def test_what_is_compiled_is_what_is_done_one_after_another() -> None:
    """Bit for bit, as it stands in Python."""
    numbers = torch.from_numpy(draw_colours(np.random.default_rng(0), 96, AugmentRecipe()))
    crops = torch.stack([tensor(PICTURES[i % len(PICTURES)]) for i in range(96)])
    for count in (96, 1):
        plain = recolour(crops[:count], numbers[:count], ZERO, ONE)
        assert torch.equal(recolour(crops[:count], numbers[:count], ZERO, ONE, coloured_at_once), plain)
    gray = crops[:, :1]  # of one channel nothing is compiled
    assert torch.equal(
        recolour(gray, numbers, ZERO[:1], ONE[:1], coloured_at_once), recolour(gray, numbers, ZERO[:1], ONE[:1])
    )


def test_a_neutral_row_changes_nothing() -> None:
    pictures = torch.stack([tensor(picture) for picture in PICTURES])
    before = pictures.clone()
    assert torch.equal(recolour(pictures, neutral(len(pictures)), ZERO, ONE) * 255, pictures.float())
    assert torch.equal(pictures, before)


def test_normalised_by_mean_and_deviation() -> None:
    mean, std = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.2, 0.3, 0.4])
    picture = tensor(PICTURES[0])[None]
    expected = (picture.float() / 255 - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(recolour(picture, neutral(), mean, std), expected)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_batch_is_its_pictures_one_by_one(channels: int) -> None:
    rng = np.random.default_rng(1)
    crops = torch.from_numpy(rng.integers(0, 256, (12, channels, 20, 20), dtype=np.uint8))
    numbers = torch.from_numpy(draw_colours(rng, 12, AugmentRecipe()))
    mean, std = torch.full((channels,), 0.4), torch.full((channels,), 0.3)
    whole = recolour(crops, numbers, mean, std)
    single = [recolour(crops[i : i + 1], numbers[i : i + 1], mean, std) for i in range(12)]
    torch.testing.assert_close(whole, torch.cat(single), atol=1e-5, rtol=0)
    last = recolour(crops.contiguous(memory_format=torch.channels_last), numbers, mean, std)
    torch.testing.assert_close(whole, last, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(6))
def test_one_channel_is_pils_gray_picture(seed: int) -> None:
    picture = PICTURES[seed].convert("L")
    numbers = torch.from_numpy(draw_colours(np.random.default_rng(seed), 1, AugmentRecipe(jitter=1, blur=0)))[0]
    expected = as_pil_does(picture, torch.cat([numbers[:GRAY], torch.zeros(2), numbers[FIRST_JITTER:]]))
    got = recolour(torch.from_numpy(np.array(picture))[None, None], numbers[None], torch.zeros(1), torch.ones(1)) * 255
    assert float((got[0, 0] - torch.from_numpy(np.array(expected))).abs().mean()) < 0.05


def test_other_channels_are_flipped_and_blurred_only() -> None:
    crops = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 5, 9, 9), dtype=np.uint8))
    wanted = AugmentRecipe(flip=1, jitter=1, grayscale=1, blur=0)
    numbers = torch.from_numpy(draw_colours(np.random.default_rng(0), 1, wanted))
    got = recolour(crops, numbers, torch.zeros(5), torch.ones(5)) * 255
    torch.testing.assert_close(got, crops.flip(-1).float())


@pytest.mark.parametrize("sigma", [0.1, 0.5, 0.9, 1.4, 2.0, 5.0])
def test_blur_weights_have_the_gaussians_variance(sigma: float) -> None:
    weights = blur_weights(torch.tensor([sigma, 3.0]))[0].double()
    offsets = torch.arange(len(weights)) - len(weights) // 2
    assert float(weights.sum()) == pytest.approx(1, abs=1e-6)
    assert float((weights * offsets**2).sum()) == pytest.approx(sigma**2, rel=1e-4)


def test_no_wish_draws_neutral_numbers() -> None:
    numbers = draw_colours(np.random.default_rng(0), 50, AugmentRecipe(flip=0, jitter=0, grayscale=0, blur=0))
    assert (numbers[:, :FIRST_JITTER] == neutral(50)[:, :FIRST_JITTER].numpy()).all()


def test_drawn_numbers_have_the_stated_ranges_and_frequencies() -> None:
    wanted = AugmentRecipe(
        flip=0.5, jitter=0.8, brightness=0.8, contrast=0.4, saturation=1.5, hue=0.2, grayscale=0.2, blur=0.5
    )
    numbers = draw_colours(np.random.default_rng(0), 20_000, wanted)
    jittered = numbers[:, HUE] != 0
    for share, expected in (
        (numbers[:, FLIP].mean(), 0.5), (jittered.mean(), 0.8), (numbers[:, GRAY].mean(), 0.2),
        ((numbers[:, SIGMA] > 0).mean(), 0.5),
    ):  # fmt: skip
        assert share == pytest.approx(expected, abs=0.015)
    for column, least, most in (
        (BRIGHTNESS, 0.2, 1.8), (CONTRAST, 0.6, 1.4), (SATURATION, 0.0, 2.5), (HUE, -0.2, 0.2),
    ):  # fmt: skip
        drawn = np.sort(numbers[jittered, column])
        uniform = np.linspace(least, most, len(drawn))
        assert np.abs(drawn - uniform).max() < 0.02 * (most - least)
    sigmas = np.sort(numbers[numbers[:, SIGMA] > 0, SIGMA])
    assert np.abs(sigmas - np.linspace(0.1, 2.0, len(sigmas))).max() < 0.04
    orders, counts = np.unique(numbers[:, FIRST_JITTER:], axis=0, return_counts=True)
    assert len(orders) == 24
    assert counts.min() > 700

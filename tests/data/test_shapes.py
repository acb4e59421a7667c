"""The pictures that draw themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from swav_cli.data.shapes import KINDS, SIZE, shape_picture


def test_a_picture_depends_on_seed_split_and_index_alone() -> None:
    first = shape_picture(0, "train", 5)
    np.random.seed(1)
    assert torch.equal(first, shape_picture(0, "train", 5))
    for other in (shape_picture(1, "train", 5), shape_picture(0, "val", 5), shape_picture(0, "train", 15)):
        assert not torch.equal(first, other)


@pytest.mark.parametrize("size", [SIZE, 16, 50])
def test_pictures_are_small_and_coloured(size: int) -> None:
    picture = shape_picture(0, "train", 0, size)
    assert picture.shape == (3, size, size)
    assert picture.dtype == torch.uint8
    assert picture.stride() == (1, 3 * size, 3)
    assert float(picture.float().std()) > 5


def test_no_two_pictures_are_the_same() -> None:
    pictures = {shape_picture(0, split, index).numpy().tobytes() for split in ("train", "val") for index in range(100)}
    assert len(pictures) == 200


def test_pictures_of_every_kind_vary_in_light_and_colour() -> None:
    for kind in range(len(KINDS)):
        means = torch.stack([shape_picture(0, "train", kind + 10 * i).float().mean((1, 2)) for i in range(20)])
        assert (means.std(dim=0) > 5).all()
        assert means.min() > 10
        assert means.max() < 245


def test_the_mean_picture_of_a_kind_does_not_give_it_away() -> None:
    """Objects lie anywhere: the average over pictures is nearly flat, and nearly that of any other kind."""
    means = [
        torch.stack([shape_picture(0, "train", kind + 10 * i).float() for i in range(100)]).mean(0)
        for kind in range(10)
    ]
    for mean in means:
        assert float((mean - torch.stack(means).mean(0)).abs().mean()) < 12

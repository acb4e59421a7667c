"""How often a picture is found again by another crop of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from swav_cli.core.plan import make_model
from swav_cli.core.weights import about
from swav_cli.data.sources import open_pictures
from swav_cli.evaluate.found_again import draw_views, found_again, found_by
from swav_cli.evaluate.inference import Inference
from tests.conftest import tiny_recipe


def test_it_is_a_count_of_nearest_rows_by_cosine() -> None:
    drawn = torch.Generator().manual_seed(0)
    first, second = torch.randn(30, 5, generator=drawn), torch.randn(30, 5, generator=drawn)
    second[:20] += 3 * first[:20]
    hits = 0
    for number in range(30):
        cosines = [torch.cosine_similarity(second[number], row, dim=0) for row in first]
        hits += max(range(30), key=lambda other: float(cosines[other])) == number
    assert found_again(first, 7 * second) == 100 * hits / 30
    assert 40 < found_again(first, second) < 100


def test_pixels_find_pictures_of_one_colour_each_unless_colours_change(tmp_path: Path) -> None:
    for number, colour in enumerate(np.random.default_rng(0).integers(0, 256, (24, 3)).tolist()):
        Image.new("RGB", (20, 20), tuple(colour)).save(tmp_path / f"{number:02d}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    pictures = open_pictures(str(tmp_path))
    plain = tiny_recipe("augment.jitter=0.0", "augment.grayscale=0.0", "augment.blur=0.0", f"data.train={tmp_path}")
    views = draw_views(pictures, plain, about(plain))
    assert views.crops.shape[1] == 24  # the broken one is left out
    assert found_by(None, views, about(plain), Inference()) == 100
    changed = tiny_recipe("augment.jitter=1.0", "augment.grayscale=1.0", f"data.train={tmp_path}")
    views = draw_views(pictures, changed, about(changed))
    assert found_by(None, views, about(changed), Inference()) < 50
    assert 0 <= found_by(make_model(changed), views, about(changed), Inference()) <= 100

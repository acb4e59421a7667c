"""Confusions as pictures: what the cells show, and names that must not break them."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from swav_cli.errors import UserError
from swav_cli.report.confusion import save_confusion

ODD = ["$x_1$", "a_b", "日本語", "naïve café", "\udce9odd", "new\nline", "%^{bad", "a very long name " * 9, "", "$"]


def confusion(classes: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 3, (classes, classes), generator=generator) + 40 * torch.eye(classes, dtype=torch.long)


def drawn(path: Path, matrix: Tensor, names: list[str], title: str = "run") -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_confusion(path, matrix, names, title)
    return np.asarray(Image.open(path).convert("RGB"))


def cells(pixels: np.ndarray, classes: int) -> np.ndarray:
    """The color at the upper left of each cell, beside what is written in it, inside the frame of black lines."""
    black = (pixels < 60).all(axis=2)  # a line falls between two pixels
    lengths = [black.sum(axis=axis) for axis in (1, 0)]
    rows, columns = (np.flatnonzero(each > 0.75 * each.max()) for each in lengths)  # the bar of colors is shorter
    top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
    at = (np.arange(classes) + 0.15) / classes
    return pixels[np.ix_((top + at * (bottom - top)).astype(int), (left + at * (right - left)).astype(int))]


def test_darker_is_a_larger_share_of_the_row_and_gray_is_no_picture(tmp_path: Path) -> None:
    matrix = torch.tensor([[90, 10, 0], [1, 2, 3], [0, 0, 0]])
    found = cells(drawn(tmp_path / "confusion.png", matrix, ["a", "b", "c"]), 3).astype(int)
    light = found.sum(axis=2)
    assert light[0, 0] < light[1, 2] < light[1, 1] < light[1, 0] < light[0, 1] < light[0, 2]  # 90, 50, 33, 17, 10, 0 %
    assert np.ptp(found[2]) <= 1
    assert found[2].mean() == pytest.approx(204, abs=1)


@pytest.mark.parametrize("classes", [2, 10, 15, 16, 100, 1000])
def test_any_number_of_classes(tmp_path: Path, classes: int) -> None:
    pixels = drawn(tmp_path / "confusion.png", confusion(classes), [f"class {number}" for number in range(classes)])
    assert 400 < max(pixels.shape) < 3000
    assert min(pixels.shape[:2]) > 2 * classes
    if classes <= 100:
        light = cells(pixels, classes).astype(int).sum(axis=2)
        assert (light.argmin(axis=1) == np.arange(classes)).all()


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".pdf", ".svg"])
def test_odd_names(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"$odd_{{name ü{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_confusion(path, confusion(10), ODD, "runs/$my_run^{ \udcff 名")
    assert path.stat().st_size > 5000
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_names_may_be_long_without_the_cells_getting_small(tmp_path: Path) -> None:
    short = drawn(tmp_path / "short.png", confusion(10), list("abcdefghij"))
    long = drawn(tmp_path / "long.png", confusion(10), ODD)
    assert long.shape[0] > short.shape[0] + 100
    assert long.shape[1] > short.shape[1] + 100


def test_the_same_again(tmp_path: Path) -> None:
    first, second = (drawn(tmp_path / f"{number}.png", confusion(4), list("abcd")) for number in range(2))
    assert np.array_equal(first, second)


def test_a_setting_of_the_user_does_not_matter(tmp_path: Path) -> None:
    import matplotlib

    expected = drawn(tmp_path / "0.png", confusion(4), list("abcd"))
    with matplotlib.rc_context({"text.usetex": True}):
        assert np.array_equal(drawn(tmp_path / "1.png", confusion(4), list("abcd")), expected)


def test_what_cannot_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"drawn as \.png, \.pdf, \.svg\. Did you mean '\.png'"):
        save_confusion(tmp_path / "confusion.pngg", confusion(2), ["a", "b"], "run")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="can't be written"):
        save_confusion(tmp_path / "file" / "confusion.png", confusion(2), ["a", "b"], "run")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"pip install 'swav-cli\[report\]'"):
        save_confusion(tmp_path / "confusion.png", confusion(2), ["a", "b"], "run")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]

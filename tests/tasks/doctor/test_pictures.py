"""Faults of pictures, made on purpose: each is told, with the first of those that have it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from swav_cli.data.sources import open_pictures
from swav_cli.errors import silent
from swav_cli.report.checkup import Check
from swav_cli.tasks.doctor.look import Look, look_at
from swav_cli.tasks.doctor.pictures import check_pictures
from swav_cli.tasks.doctor.recipe import check_judged, check_recipe, fit
from tests.conftest import tiny_recipe
from tests.tasks.doctor.test_machine import CPU


def draw(folder: Path, count: int, side: int = 32, most: int = 255, is_gray: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(count)
    for number in range(count):
        pixels = rng.integers(0, most, (side, side, 1 if is_gray else 3), dtype=np.uint8)
        Image.fromarray(np.repeat(pixels, 3, axis=2) if is_gray else pixels).save(folder / f"{number:03d}.png")
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    for kind in ("one", "two"):
        draw(folder / kind, 60 if kind == "one" else 61)
    return folder


@pytest.fixture
def folder(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "pictures"))


WELL = [
    "training.epochs=16", "loss.freeze_prototypes_steps=0", "data.val=null", "data.train=pictures",
]  # fmt: skip


def examined(folder: Path, *overrides: str, look: Look | None = None) -> dict[str, Check]:
    pictures, recipe = open_pictures(str(folder)), tiny_recipe(*WELL, *overrides)
    look = look or look_at(pictures, 60)
    checks = [*check_pictures(pictures, recipe, look), *check_recipe(fit(recipe, look.total, look, CPU), look, CPU)]
    return {check.name: check for check in checks}


def test_a_healthy_small_set_is_ok(folder: Path) -> None:
    found = examined(folder)
    assert {name for name, check in found.items() if check.state != "ok"} == set()
    assert found["classes"].found == "2 classes of 60 (one) to 61 (two) pictures"
    assert found["modes"].found == "PNG RGB 121"
    assert found["sizes"].found == "all 32x32 pixels"
    assert found["count"].found == f"121 pictures of {folder}, all looked at"


def test_broken_pictures_are_named_and_weighed(folder: Path) -> None:
    (folder / "one" / "000.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "two" / "001.png").write_bytes(b"")
    assert examined(folder)["readable"].state == "warning"  # of 121 a run bears two
    found = examined(folder, "data.max_bad=0.005")["readable"]
    assert found.state == "problem"  # a run would stop
    assert found.found.startswith("2 pictures can't be read: one/000.png: ")
    assert "two/001.png: the file is empty" in found.found
    assert examined(folder, "data.max_bad=0.5")["readable"].state == "warning"


def test_exact_copies_are_found_whatever_their_files_are(folder: Path) -> None:
    with Image.open(folder / "one" / "003.png") as picture:
        picture.save(folder / "two" / "other.bmp")
    found = examined(folder)["copies"]
    assert (found.state, found.found) == ("warning", "1 exact copy of others: one/003.png = two/other.bmp")
    assert found.values is not None
    assert found.values["copies"] == 1


def test_a_set_that_is_mostly_copies_is_a_problem(tmp_path: Path) -> None:
    draw(tmp_path / "same", 2)
    for number in range(5):
        shutil.copy(tmp_path / "same" / "000.png", tmp_path / "same" / f"copy{number}.png")
    assert examined(tmp_path / "same")["copies"].state == "problem"


def test_pictures_too_small_for_the_crops_are_told(tmp_path: Path) -> None:
    draw(tmp_path / "small", 3, side=10)
    found = examined(tmp_path / "small")
    assert found["size for crops"].state == "warning"
    assert "3 pictures (100%) too small for crops.0 of 16 pixels, and enlarged up to 1.6 times" in (
        found["size for crops"].found
    )
    assert "--set crops.0.size=8" in found["size for crops"].remedy
    assert found["count"].state == "warning"


def test_uneven_classes_are_told(folder: Path) -> None:
    for number in range(5, 60):
        (folder / "one" / f"{number:03d}.png").unlink()
    found = examined(folder)["classes"]
    assert found.state == "warning"
    assert "2 classes of 5 (one) to 61 (two) pictures, 12 times as many" in found.found


def test_gray_and_dark_pictures_are_told(tmp_path: Path) -> None:
    draw(tmp_path / "dark", 8, most=30, is_gray=True)
    found = examined(tmp_path / "dark")
    assert found["modes"].found == "PNG RGB 8; 100% without colour"
    assert (found["colour"].state, found["colour"].remedy.split()[1]) == ("warning", "data.channels=1")
    assert found["normalisation"].state == "warning"
    assert "mean [0.06, 0.06, 0.06]" in found["normalisation"].found
    measured = examined(tmp_path / "dark", "data.mean=auto", "data.std=auto")
    assert measured["normalisation"].state == "ok"


def test_pictures_that_judge_are_looked_for(folder: Path) -> None:
    pictures = open_pictures(str(folder))
    assert check_judged(tiny_recipe(f"data.val={folder}"), pictures, CPU).found == f"121 pictures of {folder}"
    assert check_judged(tiny_recipe("data.val=null"), pictures, CPU).state == "ok"
    for val, words in (("nowhere", "no such folder"), (folder / "one", "labels"), ("shapes:4", "class")):
        check = check_judged(tiny_recipe(f"data.val={val}"), pictures, CPU)
        assert check.state == "problem"
        assert words in check.found


def test_a_sample_is_told_as_one_and_drawn_alike(folder: Path) -> None:
    pictures = open_pictures(str(folder))
    some, again = (look_at(pictures, 60, most=20, progress=silent) for _ in range(2))
    assert [one.number for one in some.seen] == [one.number for one in again.seen]
    assert len({one.number // 60 for one in some.seen}) == 2  # of both classes
    found = examined(folder, look=some)
    assert found["count"].found.endswith("a sample of 20 looked at")
    assert found["readable"].found == "all (of 20 looked at)"
    assert look_at(pictures, seconds=0.0).count < len(pictures)  # time is up after the first ones

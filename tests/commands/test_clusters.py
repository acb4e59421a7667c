"""`swav clusters` as a user types it."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from swav_cli.core.weights import save_model
from swav_cli.data.sources import open_pictures
from swav_cli.evaluate.features import middle_square
from swav_cli.zoo.load import load_model
from tests.conftest import Run, tiny_recipe
from tests.test_readme import make_run

COLUMNS = ["path", "cluster", "probability", "second", "margin", "group", "outlier"]
COLUMNS += ["copy_of", "similarity", "keep", "error"]


@pytest.fixture
def here(tmp_path: Path, photos: Path) -> Path:
    """A run, and a folder with an exact copy, a smaller one, and a file that is no picture."""
    make_run(tmp_path / "runs" / "learnt", tiny_recipe())
    model, pictures = load_model(tmp_path / "runs" / "learnt"), open_pictures(str(photos))
    with torch.no_grad():  # prototypes where pictures are, so that there are several clusters
        shown = torch.cat([model.prepare(middle_square(pictures.read(3 * number), 16)) for number in range(12)])
        model.network.get_submodule("prototypes").weight.copy_(model.embed(shown))
    save_model(tmp_path / "runs" / "learnt" / "model.safetensors", model)
    shutil.copy(photos / "plain" / "00.png", photos / "stripes" / "again.png")
    (photos / "plain" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (photos / "plain" / "03.png").symlink_to(photos / "stripes" / "03.png")
    return tmp_path


def rows(path: Path) -> dict[str, dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def test_a_folder_that_grows(swav: Run, here: Path) -> None:
    done = swav(
        "clusters", "photos", "--groups", "2", "--json", "--batch-size", "7", "--show", "sheet.png", "--no-page"
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert results == json.loads((here / "clusters" / "results.json").read_text())
    assert (results["pictures"], results["unread"], results["computed"]) == (43, 1, 43)
    table = rows(here / "clusters" / "clusters.csv")
    assert [*next(iter(table.values()))] == COLUMNS
    assert table["photos/stripes/again.png"]["copy_of"] == "photos/plain/00.png"
    assert [table[f"photos/{n}.png"]["keep"] for n in ("stripes/again", "plain/00", "plain/broken")] == [
        "false", "true", "",
    ]  # fmt: skip
    assert table["photos/plain/broken.png"]["error"]
    assert table["photos/plain/03.png"]["keep"] == table["photos/stripes/03.png"]["keep"] == "true"  # one file
    assert {row["group"] for row in table.values()} == {"0", "1", ""}
    assert (here / "clusters" / "delete.txt").read_text() == "photos/stripes/again.png\n"
    assert Image.open(here / "sheet.png").size == (1200, 200)

    shutil.copy(here / "photos" / "plain" / "02.png", here / "photos" / "plain" / "new\nline.png")
    os.remove(here / "photos" / "stripes" / "01.png")
    again = swav("clusters", "photos", "--groups", "2", "--print", "delete", "-0", "--no-page")
    assert again.stdout == "photos/plain/new\nline.png\0photos/stripes/again.png\0"
    assert "1 picture computed; 42 were known" in again.stderr
    assert "1 picture of before is not among these" in again.stderr
    after = rows(here / "clusters" / "clusters.csv")
    for path in table.keys() & after.keys():
        assert [after[path][name] for name in COLUMNS[:6]] == [table[path][name] for name in COLUMNS[:6]]


def test_any_batch_size_workers_and_order(swav: Run, here: Path) -> None:
    listed = sorted((here / "photos").glob("*/*.png"), reverse=True)
    options = ("--out", "photos/found", "--show", "photos/found/sheet.png", "--batch-size", "3", "--no-page")
    assert swav("clusters", "photos", *options).returncode == 0
    assert "all 43 were known" in swav("clusters", "photos", *options).stderr  # the sheet is no picture of theirs
    (here / "list.txt").write_text("\n".join(str(path.relative_to(here)) for path in listed))
    done = swav("clusters", "list.txt", "--out", "b", "--workers", "1", "--no-page")
    assert done.returncode == 0, done.stderr
    one, other = (rows(here / name / "clusters.csv") for name in ("photos/found", "b"))
    assert [*one] == [*other]
    for name in COLUMNS:
        pairs = [(one[path][name], other[path][name]) for path in one]
        if name in ("probability", "margin", "outlier", "similarity"):  # up to rounding
            pairs = [(float(a or 0), pytest.approx(float(b or 0), abs=1e-5)) for a, b in pairs]
        assert [a for a, _ in pairs] == [b for _, b in pairs]


def test_one_among_others_and_what_is_near(swav: Run, here: Path) -> None:
    (here / "test").mkdir()
    Image.open(here / "photos" / "plain" / "02.png").save(here / "test" / "leak.bmp")
    Image.new("RGB", (24, 24), "blue").save(here / "test" / "new.png")
    done = swav(
        "clusters", "photos", "--against", "test", "--print", "against", "--sort-into", "sorted", "--copy", "--no-page"
    )
    assert done.stdout == "photos/plain/02.png\n", done.stderr
    assert rows(here / "clusters" / "against.csv") == {
        "photos/plain/02.png": {
            "path": "photos/plain/02.png", "other": "test/leak.bmp", "similarity": "1.0", "exact": "true",
        }
    }  # fmt: skip
    sorted_ = [path for path in (here / "sorted").glob("group-*/*") if path.suffix == ".png"]
    assert len(sorted_) == 42
    assert not any(path.is_symlink() for path in sorted_)

    near = swav("clusters", "photos", "--nearest", "photos/stripes/again.png", "-k", "3", "--json", "--show", "n.png")
    first, *rest = json.loads(near.stdout)["nearest"]
    assert (first["path"], len(rest)) == ("photos/plain/00.png", 2)
    assert first["similarity"] == pytest.approx(1)
    assert (here / "n.png").exists()
    assert "43 were known" in near.stderr


def test_a_run_and_its_pictures_as_parquet_with_an_atlas(swav: Run, here: Path) -> None:
    """Of so few pictures that no layout is looked for."""
    parquet = pytest.importorskip("pyarrow.parquet")
    recipe = here / "runs" / "learnt" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("shapes:48", "shapes:16"))
    options = ("--format", "parquet", "--method", "density", "--smallest", "4", "--atlas")
    done = swav("clusters", "--model", "runs/learnt", "--no-page", *options)
    assert done.returncode == 0, done.stderr
    folder = here / "runs" / "learnt" / "clusters"
    assert parquet.read_table(folder / "clusters.parquet").column_names == COLUMNS
    assert f"uvx embedding-atlas {folder.relative_to(here)}/atlas.parquet --x x --y y" in done.stderr
    atlas = parquet.read_table(folder / "atlas.parquet").to_pylist()
    assert len(atlas) == 16
    first = atlas[0]
    assert first["image"]["bytes"].startswith(b"\xff\xd8")
    assert (len(first["neighbors"]["ids"]), first["label"]) == (10, "board")
    assert 0 not in first["neighbors"]["ids"]
    assert first["neighbors"]["distances"] == sorted(first["neighbors"]["distances"])
    assert all(isinstance(row["x"], float) and abs(row["y"]) < 1e3 for row in atlas)


def test_a_network_that_timm_publishes(swav: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the hub's folder on this machine, with random weights that nobody has published, and no network."""
    timm = pytest.importorskip("timm")
    from safetensors.torch import save_file

    kept = here / "hub" / "hub" / "models--timm--test_vit.r160_in1k"
    snapshot = kept / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("0" * 40)
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit").state_dict(), snapshot / "model.safetensors")
    monkeypatch.setenv("HF_HOME", str(here / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = swav("clusters", "photos", "--model", "timm:test_vit", "--groups", "3", "--json", "--no-page")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert (results["clusters"]["kind"], results["copies"]["exact"], len(results["groups"])) == ("centres", 1, 3)
    with np.load(here / "clusters" / "kept" / "space.npz") as space:
        assert space["mean"].shape == (64,)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("photos --groups none", "--groups none: a number from 1 on, or auto"),
        ("photos --print everything", "--print everything: use keep, delete, outliers"),
        ("photos --print against", "name the pictures to compare with"),
        ("photos -0", "-0 is of --print"),
        ("photos --nearest photos/plain/00.png --atlas", "--nearest tells of one picture alone"),
        ("photos --nearest photos", "is 43 pictures; name one"),
        ("photos --near 0", "--near 0: a cosine above 0"),
        ("photos --format xlsx", "--format xlsx: use csv or parquet"),
        ("photos --out photos", "--out photos: holds other files"),
        ("photos --out found --sort-into found", "--sort-into found: is the place of --out too"),
        ("photos --show sheet.jpg", "the sheet is a PNG file"),
        ("photos --model timm:resnet5", "Did you mean 'resnet50'?"),
        ("photos --model timm:test_vit.none", "timm has weights test_vit.r160_in1k"),
        ("nowhere", "nowhere: no such picture or folder"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(swav_here: Run, here: Path, words: str, told: str) -> None:
    before = sorted(here.rglob("*"))
    done = swav_here("clusters", *words.split())
    assert (done.code, told in done.err, done.out) == (2, True, "")
    assert sorted(here.rglob("*")) == before

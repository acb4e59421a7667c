"""What swav has written is no picture of the next command, and what a user has by such names is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from swav_cli.data.folders.own_results import Looking
from swav_cli.data.inputs import open_inputs
from swav_cli.data.pictures import Pictures
from swav_cli.data.sources import open_pictures
from swav_cli.evaluate.answer import Answer, Guess
from swav_cli.evaluate.extraction.unfinished import Unfinished
from swav_cli.evaluate.extraction.writers import Table, open_output
from swav_cli.evaluate.sorting import Sorting
from swav_cli.recipe.file import dump_recipe
from swav_cli.report.confusion import save_confusion
from swav_cli.report.marked import save_sheet
from swav_cli.report.sheet import save_rows
from swav_cli.run.folder import RunFolder
from tests.conftest import Command, tiny_recipe


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with four pictures of the user's: two of them are called as swav calls its own."""
    folder = tmp_path / "own-photos"
    for name in ("a.png", "b.jpg", "prototypes.png", "art/confusion.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), "red").save(folder / name)
    np.save(folder / "heights.npy", np.zeros((4, 4), dtype=np.uint8))
    (folder / "heights.json").write_text(json.dumps({"taken": "today", "format": "none of swav's"}))
    monkeypatch.chdir(folder)
    return folder


OWN = ["a.png", "art/confusion.png", "b.jpg", "heights.npy", "prototypes.png"]


def names(pictures: Pictures) -> list[str]:
    return [Path(pictures.name(index)).as_posix() for index in range(len(pictures))]


def make_run(folder: Path) -> None:
    folder.mkdir(parents=True)
    run = RunFolder(folder)
    run.recipe.write_text(dump_recipe(tiny_recipe()))
    run.metrics.write_text("")
    Image.new("RGB", (8, 6), "red").save(run.prototypes)  # as one of an earlier swav, without a mark
    save_sheet(folder / "crops.png", Image.new("RGB", (8, 6)))
    np.save(folder / "features.npy", np.zeros((4, 4), dtype=np.float32))
    (run.tracking / "trackio" / "media").mkdir(parents=True)
    (run.tracking / "trackio.json").touch()
    Image.new("RGB", (8, 6), "red").save(run.tracking / "trackio" / "media" / "sheet-of-a-tracker.png")


def test_a_users_pictures_stay_whatever_they_are_called(photos: Path) -> None:
    pictures = open_pictures(".")
    assert names(pictures) == OWN
    assert pictures.remarks == []


def test_sheets(photos: Path) -> None:
    save_rows(photos / "sheet.png", [[torch.zeros(3, 8, 8, dtype=torch.uint8)]])
    save_rows(photos / "art/whatever.PNG", [[torch.zeros(3, 8, 8, dtype=torch.uint8)]])
    pictures = open_pictures(".")
    assert names(pictures) == OWN
    assert pictures.remarks == ["passed over, since swav has written it: art/whatever.PNG, sheet.png"]


def test_confusions(photos: Path) -> None:
    pytest.importorskip("matplotlib")
    save_confusion(photos / "mine.png", torch.eye(2, dtype=torch.long), ["a", "b"], "t")
    assert names(open_pictures(".")) == OWN


def test_runs_side_by_side(photos: Path) -> None:
    for name in ("runs/one", "runs/two", "elsewhere"):
        make_run(photos / name)
    (photos / "runs/one/from-the-user").mkdir()
    (photos / "a.png").rename(photos / "runs/one/from-the-user/a.png")
    pictures = open_pictures(".")
    assert names(pictures) == [*OWN[1:], "runs/one/from-the-user/a.png"]
    assert pictures.remarks == ["passed over, since swav has written it: elsewhere/, runs/one/, runs/two/"]


def test_a_folder_with_a_recipe_of_another_kind_is_no_run(photos: Path) -> None:
    (photos / "cake").mkdir()
    (photos / "a.png").rename(photos / "cake/cake.png")
    (photos / "cake/recipe.yaml").write_text("name: cake\neggs: 3\n")
    (photos / "cake/results.json").write_text("{}")
    assert names(open_pictures(".")) == [*OWN[1:3], "cake/cake.png", *OWN[3:]]


@pytest.mark.parametrize("suffix", [".npy", ".NPY"])
def test_features_and_those_in_progress(suffix: str, photos: Path) -> None:
    settings = {"shape": [2, 3]}
    description = {"format": "swav-features-1", "file": f"feats{suffix}"}
    table = Table(np.empty(0, dtype=np.float32), "ab".__getitem__, np.array([0, 1]), ["a", "b"], description)
    unfinished = Unfinished(open_output(photos / f"feats{suffix}", is_map=False))
    unfinished.hold()
    unfinished.begin(settings, (2, 3))
    assert (photos / f"feats{suffix}.part/rows.npy").exists()
    assert names(open_pictures(".")) == OWN
    unfinished.finish(table)
    assert (photos / "feats.labels.npy").exists()
    pictures = open_pictures(".")
    assert names(pictures) == OWN
    both = ", ".join(sorted(["feats.labels.npy", f"feats{suffix}"]))
    assert pictures.remarks == [f"passed over, since swav has written it: {both}"]


def test_pictures_by_name_and_by_pattern(photos: Path) -> None:
    save_sheet(photos / "sheet.png", Image.new("RGB", (8, 6)))
    assert names(open_inputs(["sheet.png"])) == ["sheet.png"]  # asked for by itself
    pictures = open_inputs(["a.png", "sheet.png", "prototypes.png"])
    assert names(pictures) == ["a.png", "prototypes.png"]
    assert pictures.remarks == ["sheet.png: passed over, since swav has written it"]
    assert names(open_inputs(["*.png"])) == ["a.png", "prototypes.png"]
    (photos / "l.txt").write_text("a.png\nsheet.png\n")
    assert names(open_inputs(["l.txt"])) == ["a.png", "sheet.png"]


def test_all_names_that_a_shell_puts_for_an_asterisk(photos: Path) -> None:
    (photos / "feats.json").write_text(json.dumps({"format": "swav-features-1", "file": "feats.npy"}))
    for name in ("feats.npy", "feats.labels.npy", "feats.paths.txt", "sheet.png"):
        save_sheet(photos / name, Image.new("RGB", (8, 6)))
    (photos / "heights.json").unlink()
    for name in ("runs/one", "mine"):
        make_run(photos / name)
    sorting = Sorting(photos / "sorted", open_pictures("art"), (), 1, copy=True)
    sorting.place(Answer(0, str(Path("art/confusion.png")), (Guess(0, None, 1.0),)))
    assert names(open_pictures("sorted")) == ["sorted/cluster-0000/confusion.png"]  # asked for by itself
    pictures = open_inputs(sorted(path.name for path in photos.iterdir()))
    assert names(pictures) == OWN
    told = " ".join(pictures.remarks)
    ours = ("feats.json", "feats.npy", "feats.labels.npy", "feats.paths.txt", "sheet.png", "runs", "mine", "sorted")
    assert [name for name in ours if name not in told] == []
    assert names(open_inputs(["*"])) == OWN


def test_no_more_files_are_looked_into_than_a_disk_bears(photos: Path) -> None:
    for name in ("sheet.png", "z.png"):
        save_sheet(photos / name, Image.new("RGB", (8, 6)))
    assert Looking(1).sheets(".", ["a.png", "sheet.png", "z.png"]) == {"sheet.png"}
    many = ["sheet.png", *(f"{number}.png" for number in range(200)), "z.png"]
    assert Looking().sheets(".", many) == {"sheet.png", "z.png"}
    assert Looking(100).sheets(".", many) == {"sheet.png"}


def test_commands_where_the_pictures_are(swav_here: Command, tmp_path: Path) -> None:
    """Each is run twice in the folder of its pictures, and finds what it has found the first time."""
    rng = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    settings = ("model.width=4", "model.backbone=resnet18", "model.prototypes=12", "data.val=null")
    small = [f"--set={setting}" for setting in settings]
    quick = ["--epochs", 1, "--batch-size", 4, "--workers", 0, "--device", "cpu", "--precision", "float32"]
    for _ in range(2):
        ran = swav_here("pretrain", ".", *quick, *small)
        assert ran.code == 0, ran.err
        model = next((tmp_path / "runs").iterdir())
        ran = swav_here("extract", ".", "--model", model, "--out", "feats.npy", "--workers", 0, "--device", "cpu")
        assert ran.code == 0, ran.err
        show = ["--show", "look.png", "--sort-into", "sorted", "--workers", 0, "--device", "cpu"]
        ran = swav_here("predict", ".", "--model", model, "--out", "answers.csv", *show)
        assert ran.code == 0, ran.err
        assert len((tmp_path / "answers.csv").read_text().splitlines()) == 5
    assert "feats.npy is finished" in swav_here("extract", ".", "--model", model, "--out", "feats.npy").err
    assert any((tmp_path / "sorted").rglob("*.png"))
    assert names(open_pictures(str(tmp_path))) == [str(tmp_path / f"{n}.png") for n in range(4)]

"""`swav linear-eval` and `swav finetune` as a user runs them: real processes, real files, bad input included."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from swav_cli.core.weights import Model, save_model
from swav_cli.recipe.file import dump_recipe, read_recipe
from tests.commands.test_extract import ABOUT
from tests.conftest import Command, Run, tiny_recipe
from tests.processes import share, start, wait_until

QUICK = ("--epochs", "2", "--batch-size", "8", "--workers", "0", "--device", "cpu", "--precision", "float32")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a trained run of 48 drawn pictures in it, judged by 40 others."""
    run = tmp_path / "runs" / "tiny"
    run.mkdir(parents=True)
    torch.manual_seed(0)
    save_model(run / "model.safetensors", Model(ABOUT.build(), ABOUT))
    (run / "recipe.yaml").write_text(dump_recipe(tiny_recipe()))
    (run / "results.json").write_text('{"recipe": "tiny", "loss": 2.0}')
    return tmp_path


@pytest.mark.parametrize("command", ["linear-eval", "finetune"])
def test_a_whole_run_and_its_use(home: Path, swav: Run, command: str) -> None:
    ran = swav(command, *QUICK, "--json")
    assert ran.returncode == 0, ran.stderr
    results = json.loads(ran.stdout)
    recipe = "linear-small" if command == "linear-eval" else "finetune-small"
    folder = home / "runs" / f"tiny-{recipe}"
    assert results["run"] == f"runs/tiny-{recipe}"
    assert "model: runs/tiny" in ran.stderr
    assert "top-1" in ran.stderr
    assert results["protocol"] in ran.stderr
    assert results["count"] == 40
    assert results["judged_by"] == "shapes:40:0"
    assert len(results["per_class"]) == results["classes"] == 10
    assert results == json.loads((folder / "results.json").read_text())
    table = list(csv.reader((folder / "confusion.csv").open()))
    assert sum(int(cell) for row in table[1:] for cell in row[1:]) == 40
    right = sum(int(table[i + 1][i + 1]) for i in range(10))
    assert results["top1"] == pytest.approx(100 * right / 40)
    # The model's own run knows of it.
    beside = json.loads((home / "runs" / "tiny" / "results.json").read_text())
    assert beside["loss"] == 2.0
    assert [key for key in beside if folder.name in key]
    # The result is a model like any other: predict, eval and export take it.
    judged = json.loads(swav("eval", folder, "--json").stdout)
    assert judged["top1"] == pytest.approx(results["top1"])
    assert judged["per_class"] == results["per_class"]
    said = swav("predict", "shapes:1", "--model", folder, "--format", "jsonl")
    assert json.loads(said.stdout)["top"][0]["class"] in results["per_class"]
    exported = swav("export", folder, "--format", "mmpretrain", "--out", "x.pth", "--json")
    assert json.loads(exported.stdout)["classes"] == list(results["per_class"])
    # The same command twice does nothing new.
    again = swav(command, *QUICK, "--json")
    known = json.loads(again.stdout)
    assert known.pop("eval")["top1"] == judged["top1"]
    assert known == results
    assert "is finished" in again.stderr


def test_a_frozen_backbone_is_saved_as_it_was(home: Path, swav_here: Command) -> None:
    assert swav_here("linear-eval", *QUICK).code == 0
    before, after = (load_file(home / "runs" / name / "model.safetensors") for name in ("tiny", "tiny-linear-small"))
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert set(after) - set(before) == {"fc.weight", "fc.bias"}


def test_cached_features_and_their_grid(home: Path, swav_here: Command) -> None:
    ran = swav_here("linear-eval", "--cached", "--set", "cached.epochs=3", "--json")
    assert ran.code == 0, ran.err
    results = json.loads(ran.out)
    folder = home / "runs" / "tiny-linear-small-cached"
    assert len(results["grid"]) == 28
    assert max(pair["top1"] for pair in results["grid"]) == results["chosen"]["top1"]
    assert "of 28 pairs" in results["protocol"]
    features = np.load(folder / "features" / "val.npy")
    weights = load_file(folder / "model.safetensors")
    logits = features @ weights["fc.weight"].numpy().T + weights["fc.bias"].numpy()
    assert results["top1"] == pytest.approx(100 * np.mean(logits.argmax(1) == np.arange(40) % 10))
    judged = json.loads(swav_here("eval", folder, "--json", "--precision", "float32").out)
    assert judged["top1"] == pytest.approx(results["top1"], abs=2.5)  # one picture on the edge


def test_layers_are_judged_beside_the_pooled_features(home: Path, swav_here: Command) -> None:
    ran = swav_here("linear-eval", *QUICK, "--layers", "layer1,layer3", "--json")
    assert set(json.loads(ran.out)["layers"]) == {"layer1", "layer3"}
    wrong = swav_here("linear-eval", *QUICK, "--layers", "layer9", "--out", "runs/x")
    assert wrong.code == 2
    assert "--layers layer9: no such layer" in wrong.err
    assert not (home / "runs" / "x").exists()
    both = swav_here("linear-eval", "--layers", "layer1", "--cached")
    assert "leave one out" in both.err


def test_labels_of_a_part_are_saved_and_the_same_again(home: Path, swav_here: Command) -> None:
    ran = swav_here("finetune", "--labels", "2", *QUICK)
    assert ran.code == 0, ran.err
    folder = home / "runs" / "tiny-2-finetune-small"
    kept = (folder / "labelled.txt").read_text().splitlines()
    assert len(kept) == 20
    assert json.loads((folder / "results.json").read_text())["pictures"] == 20
    other = swav_here("linear-eval", "--labels", "2", *QUICK)
    assert other.code == 0, other.err
    assert (home / "runs" / "tiny-2-linear-small" / "labelled.txt").read_text().splitlines() == kept


def draw(folder: Path, classes: str, count: int) -> Path:
    rng = np.random.default_rng(len(folder.name))
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(60 * number, 60 * number + 60, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{name}{index}.png")
    return folder


@pytest.mark.parametrize("command", [("finetune",), ("linear-eval",), ("linear-eval", "--cached")], ids=" ".join)
@pytest.mark.parametrize("classes", ["ab", "abc"])
def test_one_labelled_picture_a_class_is_enough(
    home: Path, swav_here: Command, command: tuple[str, ...], classes: str
) -> None:
    """`auto` never settles on a batch that is then refused."""
    draw(home / "photos", classes, 4)
    ran = swav_here(*command, "--data", "photos", "--val", "photos", "--labels", 1, "--epochs", 1, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["pictures"] == len(classes)


def test_a_folder_of_ones_own_is_held_out_from(home: Path, swav_here: Command) -> None:
    draw(home / "photos", "abc", 10)
    ran = swav_here("linear-eval", "--data", "photos", *QUICK, "--json")
    assert ran.code == 0, ran.err
    results = json.loads(ran.out)
    assert (results["pictures"], results["count"], results["held_out"]) == (24, 6, True)
    assert "6 of photos are held out" in ran.err
    judged = json.loads(swav_here("eval", "--json").out)
    assert (judged["count"], judged["top1"]) == (6, pytest.approx(results["top1"]))


def test_parts_of_a_folder_and_classes_by_name(home: Path, swav_here: Command) -> None:
    draw(home / "set" / "train", "abc", 8)
    draw(home / "set" / "val", "ca", 3)
    ran = swav_here("linear-eval", "--data", "set", *QUICK, "--json")
    results = json.loads(ran.out)
    assert results["missing_classes"] == ["b"]
    assert results["per_class"]["b"] is None
    assert "1 class does not occur there: b" in ran.err
    draw(home / "strange", "ax", 3)
    wrong = swav_here("linear-eval", "--data", "set/train", "--val", "strange", *QUICK, "--out", "runs/x")
    assert wrong.code == 2
    assert "strange: class 'x' is not among the 3 of set/train" in wrong.err
    assert not (home / "runs" / "x").exists()


def test_a_stopped_run_goes_on_to_the_same_end(home: Path, swav: Run) -> None:
    arguments = ("--batch-size", "8", "--epochs", "40", "--workers", "0", "--precision", "float32", "--device", "cpu")
    whole = json.loads(swav("linear-eval", *arguments, "--out", "runs/a", "--json").stdout)
    process = start("linear-eval", *arguments, "--out", "runs/b", "--set", "training.log_every=1", cwd=home)
    metrics = home / "runs" / "b" / "metrics.jsonl"
    wait_until(lambda: metrics.exists() and metrics.read_text().count('"epoch"') > 20, process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert "all is saved. Go on with the same command" in said
    assert "classes" in json.loads(swav("models", "show", "runs/b", "--json").stdout)  # usable as it is
    on = swav("linear-eval", *arguments, "--out", "runs/b", "--json")
    assert on.returncode == 0, on.stderr
    assert "going on at step" in on.stderr
    results = json.loads(on.stdout)
    for key in ("top1", "top5", "per_class", "best"):
        assert results[key] == whole[key]
    a, b = (load_file(home / "runs" / name / "model.safetensors") for name in "ab")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_several_processes_count_every_picture_once(home: Path, swav: Run) -> None:
    """39 pictures, which neither two nor three processes divide."""
    arguments = ("--set", "data.val=shapes:39", "--json")
    alone = swav("linear-eval", *QUICK, *arguments, "--out", "runs/one")
    shared = share(2, "linear-eval", *QUICK, *arguments, "--out", "runs/two", cwd=home)
    one, two = json.loads(alone.stdout), json.loads(shared)
    assert two["count"] == 39
    assert two["per_class"] == one["per_class"]
    a, b = (load_file(home / "runs" / name / "model.safetensors") for name in ("one", "two"))
    torch.testing.assert_close(a["fc.weight"], b["fc.weight"], rtol=1e-5, atol=1e-6)


def test_dry_run_tells_and_writes_nothing(home: Path, swav_here: Command) -> None:
    before = sorted(home.rglob("*"))
    told = swav_here("finetune", "--dry-run", "--labels", "50%")
    assert told.code == 0, told.err
    assert "# finetune-small: the whole network of runs/tiny; 20 pictures (50% of the labels)" in told.out
    facts = json.loads(swav_here("finetune", "--dry-run", "--json").out)
    assert facts["steps"] == 90
    shared = swav_here("finetune", "--dry-run", "--batch-size", 8, "--devices", 3)
    assert shared.err.endswith("(8) does not divide evenly over 3 processes; try --batch-size 6\n")
    assert sorted(home.rglob("*")) == before


WRONG = {
    ("linear-eval", "nothing-there"): "nothing-there: no such run, file or published model",
    ("linear-eval", "--recipe", "quickstart"): "is a recipe for `swav pretrain`, not for `swav linear-eval`",
    ("linear-eval", "--recipe", "linear-smal"): "no recipe 'linear-smal'. Did you mean 'linear-small'?",
    ("linear-eval", "--data", "nowhere"): "nowhere: no such folder or list of pictures",
    ("linear-eval", "--labels", "200"): "--labels 200: class",
    ("linear-eval", "--batch-size", "64"): "training.batch_size (64) is larger than the number of labelled pictures",
    ("linear-eval", "--plot", "a.jpg"): "a.jpg: a confusion is drawn as .png, .pdf, .svg. Did you mean '.png'?",
    ("finetune", "--set", "optimizer.backbone_rate=1"): "unknown key 'optimizer.backbone_rate'. Did you mean",
    ("finetune", "--set", "schedule.drop_epochs=[99]"): "schedule.drop_epochs (99) is not within training.epochs (30)",
    ("finetune", "--device", "tpu"): "--device tpu",
}  # fmt: skip


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_mistakes_are_one_line_and_leave_nothing(home: Path, swav_here: Command, arguments: tuple[str, ...]) -> None:
    before = sorted(home.rglob("*"))
    ran = swav_here(*arguments)
    assert ran.code == 2, ran.err
    assert WRONG[arguments] in ran.err
    assert "Traceback" not in ran.err
    assert sorted(home.rglob("*")) == before


def test_without_labels_or_a_run_there_is_one_line(home: Path, swav_here: Command) -> None:
    flat = home / "flat"
    flat.mkdir()
    Image.new("RGB", (16, 16)).save(flat / "a.png")
    assert (
        "flat: has no labels; put its pictures into a folder a class" in swav_here("linear-eval", "--data", "flat").err
    )
    os.rename(home / "runs" / "tiny" / "recipe.yaml", home / "kept.yaml")
    alone = swav_here("linear-eval", "runs/tiny")
    assert alone.code == 2
    assert "belongs to no run whose pictures could be taken; name labelled ones with --data" in alone.err


def test_a_run_of_another_recipe_or_kind_is_not_written_over(home: Path, swav_here: Command) -> None:
    assert swav_here("linear-eval", *QUICK, "--out", "runs/x").code == 0
    other = swav_here("linear-eval", *QUICK, "--out", "runs/x", "--set", "optimizer.lr=0.7")
    assert other.code == 2
    assert "optimizer.lr: 0.3 -> 0.7" in other.err
    kind = swav_here("finetune", *QUICK, "--out", "runs/x")
    assert "holds a run of `swav linear-eval`" in kind.err
    assert read_recipe(home / "runs" / "x" / "recipe.yaml").optimizer.lr == 0.3

"""`swav eval` as a user runs it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from swav_cli.core.weights import Model, save_model
from swav_cli.recipe.file import dump_recipe
from tests.commands.test_extract import ABOUT
from tests.commands.test_linear_eval import draw
from tests.conftest import Command, Run, tiny_recipe
from tests.processes import share

EXACT = ("--json", "--precision", "float32", "--device", "cpu")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a trained run in it: 48 drawn pictures, judged by 40 others."""
    run = tmp_path / "runs" / "tiny"
    run.mkdir(parents=True)
    torch.manual_seed(0)
    save_model(run / "model.safetensors", Model(ABOUT.build(), ABOUT))
    (run / "recipe.yaml").write_text(dump_recipe(tiny_recipe()))
    return tmp_path


def test_a_run_is_judged_beside_the_untrained_network(home: Path, swav: Run) -> None:
    ran = swav("eval", *EXACT)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert [(each["k"], each["temperature"]) for each in found["learnt"]["knn"]] == [
        (k, t) for k in (10, 20, 100, 200) for t in (0.07, 0.1)
    ]
    assert found["learnt"]["knn"][-1]["neighbours"] == 48  # there are no more
    for side in ("learnt", "untrained"):
        numbers = found[side]
        assert 1 <= numbers["rank"] <= 32
        assert 0 <= numbers["clusters"]["purity"] <= 1
        assert numbers["prototypes"]["clusters"] == 12
        assert math.isfinite(numbers["uniformity"])
        assert 0 <= numbers["alignment"] <= 4
    assert len(found["raw_pixels"]["knn"]) == 8
    assert "k-NN top-1 %, k = 200 (there are 48), T = 0.1" in ran.stderr
    assert json.loads((home / "runs" / "tiny" / "results.json").read_text())["eval"] == found
    # Judging a run that is not finished does not make it a finished one.
    assert "recipe" not in json.loads((home / "runs" / "tiny" / "results.json").read_text())


def test_numbers_are_those_of_the_features_that_extract_writes(home: Path, swav_here: Command) -> None:
    """k-NN and purity once more, from files and by the obvious way."""
    for part in ("shapes:48", "shapes:40"):
        swav_here("extract", part, "--out", f"{part[-2:]}.npy", "--precision", "float32", "--device", "cpu")
    found = json.loads(swav_here("eval", "--data", "shapes:40", *EXACT).out)
    queries = np.load(home / "40.npy").astype(np.float64)
    assert found["learnt"]["rank"] == pytest.approx(obvious_rank(queries), rel=1e-3)
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    # shapes:40 is its own bank of training pictures, which extract does not draw: judge it against itself instead.
    files = home / "files"
    for index in range(40):
        (files / str(index % 10)).mkdir(parents=True, exist_ok=True)
        from swav_cli.data.shapes import shape_picture

        pixels = shape_picture(0, "val", index).permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(files / str(index % 10) / f"{index:02d}.png")
    found = json.loads(swav_here("eval", "--data", "files", *EXACT).out)
    assert found["bank"] is None
    order = np.array(sorted(range(40), key=lambda index: (index % 10, index)))
    cosines = unit[order] @ unit[order].T
    np.fill_diagonal(cosines, -np.inf)
    labels = np.arange(40)[order] % 10
    right = 0
    for row, own in enumerate(labels):
        near = np.argsort(-cosines[row])[:10]
        votes = np.bincount(labels[near], np.exp(cosines[row][near] / 0.07), minlength=10)
        right += int(votes.argmax() == own)
    knn = next(each for each in found["learnt"]["knn"] if (each["k"], each["temperature"]) == (10, 0.07))
    assert knn["top1"] == pytest.approx(100 * right / 40, abs=2.6)


def obvious_rank(rows: np.ndarray) -> float:
    values = np.linalg.svd(rows, compute_uv=False)
    shares = values / values.sum() + 1e-7
    return float(np.exp(-(shares * np.log(shares)).sum()))


def test_without_labels_nothing_is_said_of_classes(home: Path, swav_here: Command) -> None:
    (home / "runs" / "tiny" / "recipe.yaml").write_text(dump_recipe(tiny_recipe("data.val=null")))
    said = swav_here("eval", *EXACT)
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert set(found["learnt"]) == {
        "unread", "prototypes", "rank", "rank_of_embeddings", "uniformity", "alignment",
    }  # fmt: skip
    assert "its run names no labelled pictures" in said.err
    assert "%" not in said.err.replace("k-NN", "")


def test_a_picture_on_both_sides_is_not_its_own_neighbour(home: Path, swav_here: Command) -> None:
    draw(home / "photos", "abcd", 6)
    alone = json.loads(swav_here("eval", "--data", "photos", *EXACT).out)
    both = json.loads(swav_here("eval", "--data", "photos", "--bank", "photos", *EXACT).out)
    assert both["learnt"]["knn"] == alone["learnt"]["knn"]


def test_pictures_that_cannot_be_read_are_counted_and_left_out(home: Path, swav_here: Command) -> None:
    draw(home / "photos", "ab", 6)
    (home / "photos" / "a" / "broken.png").write_bytes(b"no picture")
    said = swav_here("eval", "--data", "photos", *EXACT)
    assert said.code == 0, said.err
    assert json.loads(said.out)["learnt"]["unread"] == 1
    assert "1 picture could not be read and is left out" in said.err
    assert said.err.count(f"can't be read: {Path('photos/a/broken.png')}: ") == 1


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_find_the_same(home: Path, swav: Run, processes: int) -> None:
    """41 pictures, which neither two nor three processes divide."""
    (home / "runs" / "tiny" / "recipe.yaml").write_text(dump_recipe(tiny_recipe("data.val=shapes:41")))
    alone = json.loads(swav("eval", *EXACT).stdout)
    found = json.loads(share(processes, "eval", *EXACT, cwd=home))
    assert found["learnt"]["knn"] == alone["learnt"]["knn"]
    assert found["learnt"]["prototypes"] == alone["learnt"]["prototypes"]
    assert found["learnt"]["rank"] == pytest.approx(alone["learnt"]["rank"], rel=1e-4)


@pytest.fixture
def classifier(home: Path) -> Path:
    """A classifier that says `b` of everything, with no run beside it."""
    about = replace(ABOUT, classes=("a", "b", "c"))
    model = about.build()
    torch.nn.init.zeros_(model.fc.weight)
    with torch.no_grad():
        model.fc.bias.copy_(torch.tensor([0.0, 2.0, 1.0]))
    path = home / "classifier.safetensors"
    save_model(path, Model(model, about))
    return path


def test_a_classifier_on_a_folder_with_its_confusion(home: Path, swav_here: Command, classifier: Path) -> None:
    draw(home / "photos", "abc", 4)
    said = swav_here("eval", classifier, "--data", "photos", "--plot", "confusion.png", *EXACT)
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert found["top1"] == pytest.approx(100 / 3)
    assert found["top5"] == 100
    assert found["per_class"] == {"a": 0, "b": 100, "c": 0}
    assert found["majority_class"] == pytest.approx(100 / 3)
    assert Image.open(home / "confusion.png").size[0] > 300
    mirrored = json.loads(swav_here("eval", classifier, "--data", "photos", "--tta", *EXACT).out)
    assert mirrored["top1"] == found["top1"]
    assert mirrored["unread"] == 0
    assert "mirror image" in mirrored["protocol"]


def paint(folder: Path, count: int, seed: int) -> None:
    """Classes a, b, c: reds, greens and blues."""
    drawn = np.random.default_rng(seed)
    for channel, name in enumerate("abc"):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = drawn.integers(0, 30, (16, 16, 3), dtype=np.uint8)
            pixels[:, :, channel] += 220
            Image.fromarray(pixels).save(folder / name / f"{name}{index}.png")


def test_svm_of_one_label_and_of_several(home: Path, swav_here: Command) -> None:
    paint(home / "train", 8, seed=1)
    paint(home / "test", 4, seed=2)
    one = json.loads(swav_here("eval", "--svm", "--data", "test", "--bank", "train", *EXACT).out)
    assert one["metric"] == "accuracy"
    assert one["score"] == pytest.approx(np.mean(list(one["per_class"].values())))
    assert one["score"] > 80
    for part in ("train", "test"):
        lines = [
            f"{path.parent.name}/{path.name},{path.parent.name};{'dark' if path.parent.name == 'a' else 'light'}"
            for path in sorted((home / part).rglob("*.png"))
        ]
        (home / part / "list.csv").write_text("\n".join(["path,labels", *lines]))
    said = swav_here("eval", "--svm", "--data", "test/list.csv", "--bank", "train/list.csv", *EXACT)
    assert said.code == 0, said.err
    several = json.loads(said.out)
    assert several["metric"] == "mean average precision"
    assert list(several["per_class"]) == ["a", "b", "c", "dark", "light"]
    assert several["score"] == pytest.approx(np.mean(list(several["per_class"].values())))
    assert several["per_class"]["a"] == several["per_class"]["dark"]


WRONG = {
    ("eval", "nothing"): "nothing: no such run, file or published model",
    ("eval", "--bank", "x"): "--bank x: goes with --data",
    ("eval", "--tta"): "--tta: is of classifiers, and this model has none",
    ("eval", "--plot", "x.png"): "--plot: is of classifiers",
    ("eval", "--plot", "no/x.png"): "--plot no/x.png: there is no folder no",
    ("eval", "--svm", "--tta"): "--tta and --svm exclude each other",
    ("eval", "--precision", "float8"): "--precision float8: use auto, float32, bf16",
    ("eval", "--data", "flat"): "flat: has no labels",
    ("eval", "--svm", "--data", "photos"): "--svm: needs labelled pictures to train on",
    ("eval", "classifier.safetensors"): "belongs to no run whose pictures could judge it; name some with --data",
    ("eval", "classifier.safetensors", "--data", "photos"): "photos: class 'd' is not among the 3 of",
}


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_mistakes_are_one_line(home: Path, swav_here: Command, classifier: Path, arguments: tuple[str, ...]) -> None:
    draw(home / "photos", "abd", 2)
    (home / "flat").mkdir()
    Image.new("RGB", (16, 16)).save(home / "flat" / "a.png")
    said = swav_here(*arguments)
    assert said.code == 2, said.err
    assert WRONG[arguments] in said.err
    assert not (home / "runs" / "tiny" / "results.json").exists()

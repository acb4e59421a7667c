"""What `swav clusters` does, called from Python: all of a model's pictures as one value, and as tables and lists."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from swav_cli.core.weights import About, Model, read_model, save_model
from swav_cli.data.inputs import open_inputs
from swav_cli.errors import UserError
from swav_cli.evaluate.clustering.against import matches
from swav_cli.evaluate.clustering.kept import Row
from swav_cli.evaluate.inference import CPU, Inference
from swav_cli.recipe.classifier_schema import LinearRecipe
from swav_cli.recipe.file import dump_recipe
from swav_cli.report.clusters_table import listed, write_table
from swav_cli.report.clusters_text import describe_clusters
from swav_cli.tasks.clusters import Clusters, find_clusters, nearest_pictures
from swav_cli.tasks.models import describe_model
from tests.conftest import classifier_recipe, tiny_recipe
from tests.test_readme import make_run

HOW = Inference(CPU, workers=0)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network without prototypes."""
    torch.manual_seed(0)
    about = About("resnet18", width=4, stem="small", size=16, mean=(0.5,) * 3, std=(0.25,) * 3)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, Model(about.build(), about))
    return path


@pytest.fixture(scope="module")
def shapes(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Clusters:
    out = tmp_path_factory.mktemp("found") / "clusters"
    return find_clusters("shapes:90", file, out, groups=6, how=HOW)


def test_one_value_that_holds_together(shapes: Clusters) -> None:
    found = shapes.found
    assert (found.kind, len(found.paths), [group.number for group in found.groups]) == ("centres", 90, list(range(6)))
    assert sorted(np.concatenate([group.pictures for group in found.groups]).tolist()) == list(range(90))
    sizes = [len(group.pictures) for group in found.groups]
    assert sizes == sorted(sizes, reverse=True)
    cosines = found.points @ found.points.T
    assert found.neighbours.cosines[:, 0] == pytest.approx((cosines - 2 * np.eye(90)).max(axis=1), abs=1e-5)
    for group in found.groups:
        assert (found.group[group.pictures] == group.number).all()
        middle = found.points[group.pictures].mean(axis=0)
        assert group.typical[0] == group.pictures[(found.points[group.pictures] @ middle).argmax()]
        labels = found.labels[group.pictures]
        assert group.purity == pytest.approx((labels == found.classes.index(group.commonest)).mean())
    assert (found.odd == np.argsort(-found.outlier)[: len(found.odd)]).all()


def test_clusters_are_the_nearest_centres_and_groups_are_made_of_them(shapes: Clusters) -> None:
    found = shapes.found
    with np.load(shapes.folder.kept / "centres.npz") as kept:
        cosines = found.points @ kept["centres"].T
        assert (found.cluster == cosines.argmax(axis=1)).all()
        assert (found.group == kept["group"][found.cluster]).all()
    best = np.sort(cosines, axis=1)
    assert found.margin == pytest.approx(best[:, -1] - best[:, -2], abs=1e-6)


def test_lists_and_the_table(shapes: Clusters, tmp_path: Path) -> None:
    found = shapes.found
    assert listed(found, "group:0") == [found.paths[index] for index in found.groups[0].pictures]
    assert listed(found, "outliers") == [found.paths[index] for index in found.odd]
    assert (listed(found, "keep"), listed(found, "unread")) == (found.paths, [])
    with pytest.raises(UserError, match="--print group:6: there are groups 0 to 5"):
        listed(found, "group:6")
    write_table(tmp_path / "t.csv", found, "csv")
    with open(tmp_path / "t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["second"]) for row in rows] == found.second.tolist()
    assert [float(row["outlier"]) for row in rows] == pytest.approx(found.outlier.tolist(), abs=1e-6)


def test_what_the_screen_says(shapes: Clusters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = describe_clusters({**shapes.results, "unread": 2})
    assert "90 pictures of shapes:90:0" in text
    assert "unread    2; their rows in the table say why" in text
    assert f"{100 * shapes.results['classes']['groups']['accuracy']:.1f} %" in text
    assert max(map(len, text.splitlines()[1:])) <= 80


def test_the_nearest_of_another_source(shapes: Clusters, file: Path) -> None:
    """The picture is one of theirs, under another name."""
    place = shapes.folder.path
    picture = place.parent / "one.png"
    Image.fromarray(open_inputs(["shapes:90"]).read(7).permute(1, 2, 0).numpy()).save(picture)
    near = nearest_pictures(picture, "shapes:90", file, place, k=4, how=HOW)
    found = shapes.found
    wanted = [found.paths[7], *(found.paths[index] for index in found.neighbours.ids[7][:3])]
    assert [each["path"] for each in near] == wanted
    assert near[0]["similarity"] == pytest.approx(1)


def test_what_a_folder_is_of(file: Path, photos: Path, tmp_path: Path) -> None:
    told: list[str] = []

    def again(pictures: str | Path = photos, model: Path = file, **options: Any) -> Clusters:
        told.clear()
        return find_clusters(pictures, model, tmp_path / "found", page=False, how=HOW, notice=told.append, **options)

    first = again(groups=3)
    Image.new("RGB", (24, 24), "red").save(photos / "plain" / "04.png")
    second = again(groups=4)
    assert "1 picture computed, 1 of them changed; 39 were known" in told
    assert [len(each.found.groups) for each in (first, second)] == [3, 4]
    same = np.array(first.found.paths) != str(photos / "plain" / "04.png")
    assert (first.found.cluster == second.found.cluster)[same].all()
    again(groups=500)
    assert [words for words in told if words.startswith("--groups 500: 13 clusters have pictures")]
    with pytest.raises(UserError, match="holds clusters of other pictures"):
        again("shapes:20")
    other = read_model(file)
    with torch.no_grad():
        next(other.network.parameters()).add_(1)
    save_model(tmp_path / "other.safetensors", other)
    with pytest.raises(UserError, match="holds clusters of another model"):
        again(model=tmp_path / "other.safetensors")
    assert again(model=tmp_path / "other.safetensors", overwrite=True).results["computed"] == 40


def test_the_newest_pretraining_is_meant(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(Path("runs/learnt"), tiny_recipe("data.train=shapes:12"))
    Path("runs/later").mkdir()
    shutil.copy(file, "runs/later/model.safetensors")
    Path("runs/later/recipe.yaml").write_text(dump_recipe(classifier_recipe(LinearRecipe)))
    found = find_clusters(page=False, how=HOW)
    assert (found.results["model"], found.found.kind, found.results["pictures"]) == ("runs/learnt", "prototypes", 12)
    assert found.folder.path == Path("runs/learnt/clusters")


def test_a_model_of_timms_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    network = timm.create_model("test_vit")
    fed = {"input_size": [3, 160, 160], "mean": [0.5] * 3, "std": [0.5] * 3, "license": "apache-2.0"}
    answer = network.state_dict(), {"architecture": "test_vit", "pretrained_cfg": fed}
    monkeypatch.setattr("swav_cli.zoo.load.fetched_by_timm", lambda name, notice: answer)
    shown = describe_model("timm:test_vit.r160_in1k")
    assert (shown["backbone"], shown["size"], shown["licence"]) == ("timm:test_vit", 160, "apache-2.0")
    assert shown["contents"]["tensors"]["fc"]["count"] == 2


def row(points: list[list[float]], digest: list[int], errors: list[str]) -> Row:
    count = len(points)
    return Row(
        np.array(points, dtype=np.float32), np.zeros((count, 0), np.float32),
        np.array(digest, dtype=np.uint8)[:, None].repeat(16, 1), np.full((count, 2), 8, np.int32),
        np.zeros((count, 192), np.uint8), errors,
    )  # fmt: skip


def test_exact_before_near_and_none_that_is_unread() -> None:
    own = row([[1, 0], [0, 1], [1, 0], [0.6, 0.8]], [1, 2, 3, 9], ["", "", "broken", ""])
    others = row([[0, 1], [0.999, 0.0447], [0, 0], [-1, 0]], [7, 8, 3, 1], ["", "", "broken", ""])
    found = matches(own, others, ["a", "b", "c", "d"], near=0.9)
    told = [(match.picture, match.other, match.exact) for match in found]
    assert told == [(0, "d", True), (1, "a", False)]
    assert [match.picture for match in matches(own, others, ["a", "b", "c", "d"], near=2)] == [0]
    assert matches(own, row([], [], []), [], near=0.9) == []

"""Features in a file from Python, by names alone, and the pictures of a model's own run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import swav_cli as swav
from swav_cli.core.plan import make_model
from swav_cli.core.weights import Model, about, save_model
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError
from swav_cli.recipe.file import dump_recipe
from swav_cli.tasks.extract import pictures_of_run
from tests.conftest import tiny_recipe


def test_python_does_what_the_command_does(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe()
    save_model(tmp_path / "runs/tiny/model.safetensors", Model(make_model(recipe), about(recipe)))
    (tmp_path / "runs/tiny/recipe.yaml").write_text(dump_recipe(recipe))
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    own = swav.write_features(notice=said.append)  # the pictures of the newest run
    assert (own["file"], own["shape"]) == (str(Path("runs/tiny/features.npy")), [48, 32])
    assert said == [f"model: {Path('runs/tiny')}"]
    written = swav.write_features(photos, "feats.npz", "runs/tiny", layer="embedding", normalize=True)
    assert written["failures"] == []
    in_memory = swav.extract(swav.load_model("runs/tiny"), photos, "embedding")
    with np.load("feats.npz") as content:
        np.testing.assert_allclose(content["features"], in_memory.features, atol=1e-6)
    with pytest.raises(UserError, match="is no format of features"):
        swav.write_features(photos, "feats.xml")


def test_pictures_of_which_none_can_be_read_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tiny_recipe()
    save_model(tmp_path / "m.safetensors", Model(make_model(recipe), about(recipe)))
    (tmp_path / "some").mkdir()
    for name in "abcd":
        (tmp_path / "some" / f"{name}.jpg").write_text("no picture")
    for _ in range(2):  # the second time all is there already
        with pytest.raises(UserError, match=r"none of 4 pictures could be read; first some/a\.jpg: .*; some/b\.jpg: "):
            swav.write_features("some", "f.npy", "m.safetensors", workers=0, device="cpu")
    assert np.isnan(np.load("f.npy")).all()
    (tmp_path / "one.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(UserError, match=r"^one\.png: .*g\.npy holds rows of NaN alone"):
        swav.write_features("one.png", "g.npy", "m.safetensors", workers=0, device="cpu")
    for name, content in (("data.bin", b"x" * 100), ("notes.md", b"# notes")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"^{name}: "):
            swav.write_features(name, "h.npy", "m.safetensors")
    assert not (tmp_path / "h.npy").exists()


@pytest.mark.parametrize("named", [".", "model.safetensors", "checkpoints/last.pt"])
def test_the_pictures_of_a_run(tmp_path: Path, named: str) -> None:
    (tmp_path / "checkpoints").mkdir()
    recipe = tiny_recipe("data.train=shapes:48:7", "data.limit=10", "training.seed=3")
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe))
    for file in ("model.safetensors", "checkpoints/last.pt"):
        (tmp_path / file).touch()
    found = pictures_of_run(tmp_path / named)
    expected = open_pictures("shapes:48:7", "train", limit=10, seed=3)
    assert [found.name(i) for i in range(10)] == [expected.name(i) for i in range(10)]
    assert len(found) == 10


def test_a_model_of_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="belongs to no run whose pictures could be taken"):
        pictures_of_run(tmp_path / "model.safetensors")


def test_pictures_of_a_run_that_are_gone(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(dump_recipe(tiny_recipe("data.train=gone/")))
    with pytest.raises(UserError, match=r"gone/: the pictures of .* are not there; name others"):
        pictures_of_run(tmp_path)

"""What version 0.1 left on a disk goes on and loads: a run stopped within an epoch, a classifier, exports."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from swav_cli.recipe.file import differences, read_recipe
from swav_cli.run.checkpoint import load_checkpoint
from swav_cli.run.metrics import read_metrics
from swav_cli.zoo.load import load
from tests.conftest import Run

# Made by version 0.1: `before`, on shapes:48 in float64, was stopped after step 8 of 18; `whole.safetensors` are the
# weights of the same run undisturbed; `linear` is a classifier on it, the others are exports of it.
KEPT = Path(__file__).parents[1] / "reference" / "runs_0_1.tar.xz"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with tarfile.open(KEPT) as tar:
        tar.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # later 3.10 has it
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_stopped_run_goes_on_to_the_same_weights(here: Path, swav: Run) -> None:
    assert load_checkpoint(here / "before/checkpoints/last.pt")["step"] == 8
    recipe = read_recipe(here / "before/recipe.yaml")
    said = swav("pretrain", "before/recipe.yaml", "--out", "before", "--device", "cpu", "--json")
    assert "going on at step 8 of 18" in said.stderr
    assert json.loads(said.stdout)["epochs"] == 3
    assert not differences(recipe, read_recipe(here / "before/recipe.yaml"))
    steps = [line["step"] for line in read_metrics(here / "before/metrics.jsonl") if line["kind"] == "step"]
    assert steps == list(range(1, 19))
    found, expected = load_file(here / "before/model.safetensors"), load_file(here / "whole.safetensors")
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        # Not bit for bit: crops are cut by what a processor has for it, and may differ by a grey level elsewhere.
        torch.testing.assert_close(found[name], tensor, rtol=0.02, atol=0.02)


def test_models_and_exports_load(here: Path, swav: Run) -> None:
    judged = json.loads((here / "linear/results.json").read_text())
    found = json.loads(swav("eval", "linear", "--device", "cpu", "--json").stdout)
    assert (found["top5"], found["count"]) == (judged["top5"], judged["count"])
    trained, exported = (load(name).model.network.state_dict() for name in ("whole.safetensors", "export.safetensors"))
    assert trained.keys() == exported.keys()
    for name in trained:
        torch.testing.assert_close(exported[name], trained[name].to(exported[name].dtype))
    mmpretrain = load("mmpretrain.pth").model.network.state_dict()
    assert torch.equal(mmpretrain["layer4.1.conv2.weight"], exported["layer4.1.conv2.weight"])

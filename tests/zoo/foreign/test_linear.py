"""A linear classifier that was saved by itself is joined to the network it was trained on."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import swav_cli
from swav_cli import SwAV, UserError
from swav_cli.core.weights import About, Model, save_model
from swav_cli.zoo.foreign.linear import linear_alone
from swav_cli.zoo.load import load
from tests.conftest import Command

ABOUT = About("resnet18", width=4, stem="small", hidden_dim=8, embedding_dim=4, prototypes=6, size=16, source="mine")
WIDTH = 32


@pytest.fixture
def model(tmp_path: Path) -> SwAV:
    """In `model.safetensors`."""
    torch.manual_seed(0)
    network = ABOUT.build().eval()
    save_model(tmp_path / "model.safetensors", Model(network, ABOUT))
    return network


def layer(classes: int = 3, width: int = WIDTH) -> nn.Linear:
    return nn.Linear(width, classes)


def state(linear: nn.Linear, before: str = "") -> dict[str, Tensor]:
    return {f"{before}{key}": value.detach() for key, value in linear.state_dict().items()}


FILES: dict[str, Any] = {
    "eval_linear's": lambda linear: {
        "epoch": 3, "state_dict": state(linear, "module.linear."), "optimizer": {}, "best_acc": torch.tensor(75.3),
        "args": argparse.Namespace(arch="resnet18"),
    },
    "torchvision's names": lambda linear: state(linear, "fc."),
    "in a model": lambda linear: {"model": state(linear, "module.fc.")},
    "mmpretrain's names": lambda linear: {"state_dict": state(linear, "head.fc.")},
    "a layer's own": state,
    "a whole layer": lambda linear: linear,
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_a_linear_layer_becomes_the_classifier(tmp_path: Path, model: SwAV, case: str) -> None:
    linear, told = layer(), []
    torch.save(FILES[case](linear), tmp_path / "linear.pth.tar")
    found = load(tmp_path / "model.safetensors", told.append, tmp_path / "linear.pth.tar")
    pictures = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(found.model.network.logits(pictures), linear(model.features(pictures)))
        assert torch.equal(found.model.network.scores(pictures), model.scores(pictures))
    assert found.model.about.classes == ("0", "1", "2")
    assert told == [f"{tmp_path / 'linear.pth.tar'}: classifier of 3 classes joined"]


def test_in_python(tmp_path: Path, model: SwAV) -> None:
    torch.save(state(layer(1000), "linear."), tmp_path / "linear.pth")
    joined = swav_cli.load_model(tmp_path / "model.safetensors", linear=tmp_path / "linear.pth")
    assert joined.about.classes[0] == "tench"
    assert joined.classify(torch.zeros(1, 3, 16, 16)).shape == (1, 1000)


@pytest.mark.parametrize("affine", [True, False])
def test_a_normalisation_before_the_layer_is_folded_into_it(affine: bool) -> None:
    norm, linear = nn.BatchNorm1d(WIDTH, affine=affine), layer()
    for _ in range(3):
        norm(3 * torch.randn(8, WIDTH) + 1)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    folded = linear_alone(
        {"state_dict": {f"bn.{k}": v for k, v in norm.state_dict().items()} | state(linear, "linear.")}
    )
    features = torch.randn(5, WIDTH)
    assert folded is not None
    with torch.no_grad():
        torch.testing.assert_close(
            nn.functional.linear(features, folded.weight, folded.bias),
            linear(norm.eval()(features)),
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            state(layer(3, 7), "linear."),
            r"takes 7 features, and mine \(resnet18\) gives 32; name the model that it was",
        ),
        ({"conv1.weight": torch.ones(2, 3)}, r"no linear layer alone \(its first keys: conv1.weight\)"),
        (
            SwAV("resnet18", width=4, hidden_dim=8, prototypes=3, classes=3).state_dict(),
            "one with its network is a model",
        ),
        ({"linear.weight": torch.ones(3)}, "no linear layer alone"),
    ],
)
def test_what_is_no_linear_layer_of_this_network(tmp_path: Path, model: SwAV, content: Any, told: str) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(UserError, match=told):
        load(tmp_path / "model.safetensors", linear=tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"--linear none\.pth: no such file"):
        load(tmp_path / "model.safetensors", linear="none.pth")


def test_the_commands_take_it(swav_here: Command, tmp_path: Path, model: SwAV, photos: Path) -> None:
    content = {"state_dict": state(layer(2), "module.linear."), "meta": {"classes": ["plain", "stripes"]}}
    torch.save(content, tmp_path / "l.pth")
    with_it = ("--linear", "l.pth")
    few = ("photos/plain", "--model", "model.safetensors", *with_it, "--workers", 0, "--device", "cpu")
    said = swav_here("predict", *few, "--json")
    assert json.loads(said.out)["answers"][0]["top"][0]["class"] in ("plain", "stripes")
    assert swav_here("extract", *few, "--layer", "logits", "--out", "x.npy").code == 0
    shown = json.loads(swav_here("models", "show", "model.safetensors", *with_it, "--json").out)
    assert shown["classes"] == ["plain", "stripes"]
    judged = swav_here("eval", "model.safetensors", *with_it, "--data", "photos", "--workers", 0, "--json")
    assert "top1" in json.loads(judged.out)
    assert swav_here("export", "model.safetensors", *with_it, "--format", "mmpretrain").code == 0
    assert torch.load(tmp_path / "export/model.mmpretrain.pth")["state_dict"]["head.fc.weight"].shape == (2, WIDTH)
    assert swav_here("eval", "model.safetensors", *with_it, "--svm").code == 2
    alone = swav_here("predict", "photos", "--model", "l.pth")
    assert (alone.code, "name it with --linear" in alone.err) == (2, True)

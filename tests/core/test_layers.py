"""Layers by name: their shapes, and what is said of those that are not there."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from swav_cli.core.layers import layer_function, layers_of
from swav_cli.core.model import SwAV
from swav_cli.errors import UserError


def tiny_model(**options: Any) -> SwAV:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"width": 4, "hidden_dim": 16, "embedding_dim": 8, "prototypes": 12, **options}
    return SwAV("resnet18", **sizes).eval()


PLAIN = ["stem", "layer1", "layer2", "layer3", "layer4"]


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ({}, ["pooled", "embedding", "scores", *PLAIN]),
        ({"prototypes": 0, "embedding_dim": 0, "classes": 5}, ["pooled", "logits", "probabilities", *PLAIN]),
    ],
)
def test_layers_of_a_model(options: dict[str, Any], layers: list[str]) -> None:
    assert layers_of(tiny_model(**options)) == layers


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ("pooled", (2, 32)), ("embedding", (2, 8)), ("scores", (2, 12)), ("logits", (2, 5)), ("probabilities", (2, 5)),
        ("stem", (2, 4, 16, 16)), ("layer1", (2, 4, 16, 16)), ("layer2", (2, 8, 8, 8)), ("layer3", (2, 16, 4, 4)),
        ("layer4", (2, 32, 2, 2)),
    ],
)  # fmt: skip
@torch.no_grad()
def test_shapes_of_layers(layer: str, shape: tuple[int, ...]) -> None:
    model, x = tiny_model(classes=5), torch.randn(2, 3, 64, 64)
    found = layer_function(model, layer)(x)
    assert found.shape == shape
    unit = layer_function(model, layer, normalize=True)(x)
    torch.testing.assert_close(unit.flatten(1).norm(dim=1), torch.ones(2))
    torch.testing.assert_close(unit * found.flatten(1).norm(dim=1).view(2, *[1] * (found.ndim - 1)), found)


@torch.no_grad()
def test_the_last_map_pooled_is_the_features() -> None:
    model, x = tiny_model(), torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(layer_function(model, "layer4")(x).mean((2, 3)), model.features(x))


@torch.no_grad()
def test_several_scales_are_averaged() -> None:
    model, x = tiny_model(), torch.randn(2, 3, 64, 64)
    sizes = [x, *(torch.nn.functional.interpolate(x, (side, side), mode="bilinear") for side in (45, 32))]
    expected = sum(model.features(each) for each in sizes) / 3
    torch.testing.assert_close(layer_function(model, "pooled", multi_scale=True)(x), expected)


@pytest.mark.parametrize(
    ("layer", "options", "message"),
    [
        ("poold", {}, "--layer poold: no such layer. Did you mean 'pooled'? It has pooled, embedding, scores, stem"),
        ("layer5", {}, "Did you mean 'layer"),
        ("logits", {}, "this model has no classifier"),
        ("layer4", {"multi_scale": True}, "another size at each scale"),
    ],
)
def test_layers_that_are_not_there(layer: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        layer_function(tiny_model(), layer, **options)
    assert message in str(refused.value)


def test_no_embedding_without_a_head() -> None:
    with pytest.raises(UserError, match=r"no projection head.*It has pooled, stem"):
        layer_function(tiny_model(prototypes=0, embedding_dim=0), "embedding")

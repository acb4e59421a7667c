from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torchvision

from swav_cli import SwAV
from swav_cli.recipe.architectures import ARCHITECTURES
from tests.conftest import REFERENCE, drawn, formula_weights, reference, tiny_recipe


@pytest.mark.parametrize(
    ("backbone", "hidden_dim", "shape"),
    [("resnet50", 2048, (2, 3, 96, 96)), ("resnet50w2", 8192, (1, 3, 64, 64))],
)
def test_forward_and_names_agree_with_the_published_network(
    backbone: str, hidden_dim: int, shape: tuple[int, ...]
) -> None:
    published = json.loads((REFERENCE / f"official_keys_{backbone}.json").read_text())
    model = SwAV(backbone, hidden_dim=hidden_dim)
    assert {f"module.{name}": list(tensor.shape) for name, tensor in model.state_dict().items()} == published
    formula_weights(model)
    model.double().eval()
    pictures = torch.tensor(drawn(f"input{backbone}", shape))
    numbers = reference(f"forward_{backbone}")
    with torch.no_grad():
        features = model.features(pictures)
        embedding, scores = model(pictures)
    for ours, name in ((features, "features"), (embedding, "embedding"), (scores, "scores")):
        np.testing.assert_allclose(ours, numbers[name], rtol=1e-6, atol=1e-12)


def test_published_parameter_count() -> None:
    with torch.device("meta"):
        model = SwAV("resnet50")
    assert sum(p.numel() for p in model.parameters()) == 28_354_752


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2"])
def test_backbones_are_torchvisions(name: str) -> None:
    """Same names and shapes, so torchvision's weights load; the same features where it is cheap to compare."""
    with torch.device("meta"):
        ours, theirs = SwAV(name), getattr(torchvision.models, name)()
    shapes = {key: value.shape for key, value in ours.state_dict().items() if not key.startswith(("proj", "proto"))}
    assert shapes == {key: value.shape for key, value in theirs.state_dict().items() if not key.startswith("fc")}


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "wide_resnet50_2"])
def test_features_and_gradients_are_torchvisions_to_the_bit(name: str) -> None:
    theirs = getattr(torchvision.models, name)(num_classes=1)
    theirs.fc = torch.nn.Identity()
    ours = SwAV(name, hidden_dim=8, prototypes=4)
    ours.load_state_dict(theirs.state_dict(), strict=False)
    pictures = torch.randn(2, 3, 40, 40)
    features, expected = ours.features(pictures), theirs(pictures)
    assert torch.equal(features, expected)
    features.square().sum().backward()
    expected.square().sum().backward()
    gradients = {key: value.grad for key, value in ours.named_parameters() if value.grad is not None}
    for key, value in theirs.named_parameters():
        assert torch.equal(gradients[key], value.grad), key


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_backbone_of_any_width_gives_its_feature_dim(name: str) -> None:
    with torch.device("meta"):
        model = SwAV(name, width=8, stem="small", channels=5, hidden_dim=16, embedding_dim=6, prototypes=7)
        pictures = torch.empty(2, 5, 32, 32)
    model.eval()
    assert model.features(pictures).shape == (2, model.feature_dim)
    assert model.embed(pictures).shape == (2, 6)
    assert model.scores(pictures).shape == (2, 7)


def test_widths_multiply() -> None:
    with torch.device("meta"):
        shapes = [
            [tuple(p.shape) for p in SwAV(*options).parameters()]
            for options in (("resnet50w2",), )
        ] + [[tuple(p.shape) for p in SwAV("resnet50", width=128).parameters()]]  # fmt: skip
    assert shapes[0] == shapes[1]


def test_small_stem_keeps_the_size() -> None:
    model = SwAV("resnet18", width=4, stem="small", hidden_dim=0, embedding_dim=4, prototypes=3)
    sizes = []
    model.layer1.register_forward_hook(lambda _module, _input, output: sizes.append(output.shape[-2:]))
    model.features(torch.randn(1, 3, 20, 20))
    assert sizes == [(20, 20)]


def tiny() -> SwAV:
    torch.manual_seed(0)
    return SwAV("resnet18", width=4, stem="small", hidden_dim=16, embedding_dim=8, prototypes=5)


def test_crops_of_several_sizes_give_the_same_in_one_call_and_alone() -> None:
    model = tiny().eval()
    crops = [torch.randn(3, 3, 16, 16), torch.randn(3, 3, 16, 16), torch.randn(3, 3, 8, 8)]
    embedding, scores = model(crops)
    alone = [model(crop) for crop in crops]
    torch.testing.assert_close(embedding, torch.cat([one[0] for one in alone]))
    torch.testing.assert_close(scores, torch.cat([one[1] for one in alone]))


def test_each_tensor_of_crops_goes_through_the_backbone_once() -> None:
    model, calls = tiny(), []
    model.conv1.register_forward_hook(lambda _module, inputs, _output: calls.append(tuple(inputs[0].shape)))
    model([torch.randn(4, 3, 16, 16), torch.randn(4, 3, 8, 8)])
    assert calls == [(4, 3, 16, 16), (4, 3, 8, 8)]


def test_embeddings_and_prototypes_have_unit_length_and_scores_are_cosines() -> None:
    model = tiny()
    model.normalize_prototypes()
    embedding, scores = model(torch.randn(6, 3, 16, 16))
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(6))
    torch.testing.assert_close(model.prototypes.weight.norm(dim=1), torch.ones(5))
    assert scores.abs().max() <= 1 + 1e-6


def test_scores_stay_in_full_precision_under_autocast() -> None:
    model = tiny()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedding, scores = model(torch.randn(2, 3, 16, 16))
    assert embedding.dtype == scores.dtype == torch.float32


def test_zero_init_residual_makes_blocks_start_as_the_identity() -> None:
    model = SwAV("resnet18", width=4, zero_init_residual=True, hidden_dim=0, prototypes=3)
    assert not model.layer1[0].bn2.weight.any()
    x = torch.randn(1, 4, 8, 8)
    torch.testing.assert_close(model.layer1.eval()(x), x.relu())


def test_a_head_without_hidden_layer_is_linear() -> None:
    model = SwAV("resnet18", width=4, hidden_dim=0, embedding_dim=4, prototypes=3)
    assert isinstance(model.projection_head, torch.nn.Linear)


def test_the_stem_of_solo_learn_pads_by_two() -> None:
    """Its map is two pixels larger than the picture; all else is that of the small stem."""
    padded = SwAV("resnet18", width=4, stem="small_pad2", hidden_dim=8, prototypes=4).eval()
    plain = SwAV("resnet18", width=4, stem="small", hidden_dim=8, prototypes=4).eval()
    plain.load_state_dict(padded.state_dict())
    pictures = torch.randn(2, 3, 16, 16)
    assert torch.equal(padded.conv1(pictures)[:, :, 1:-1, 1:-1], plain.conv1(pictures))
    assert padded.conv1(pictures).shape == (2, 4, 18, 18)
    padded.embed(pictures).sum().backward()
    assert tiny_recipe("model.stem=small_pad2").model.stem == "small_pad2"

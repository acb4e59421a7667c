"""Feature maps by name, of ResNets and of timm's networks, alone and several in one pass."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from swav_cli import SwAV, UserError
from swav_cli.core.stages import MAPS, Stages, feature_map, map_names

PICTURES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def network(backbone: str, **options: int) -> SwAV:
    torch.manual_seed(0)
    return SwAV(backbone, hidden_dim=8, embedding_dim=4, prototypes=3, **options).eval()  # type: ignore[arg-type]


@torch.no_grad()
def test_maps_of_a_resnet() -> None:
    model = network("resnet18", width=4)
    assert map_names(model) == MAPS
    found = [feature_map(model, name)(PICTURES) for name in MAPS]
    assert [tuple(each.shape[1:]) for each in found] == [(4, 16, 16), (4, 16, 16), (8, 8, 8), (16, 4, 4), (32, 2, 2)]
    torch.testing.assert_close(found[-1].mean(dim=(2, 3)), model.features(PICTURES))


@pytest.mark.parametrize(
    ("name", "first", "last", "shape"),
    [
        ("test_convnext", "stages.0", "stages.3", (64, 2, 2)),
        ("test_byobnet", "stem", "final_conv", (256, 2, 2)),
        ("test_vit", "blocks.0", "blocks.5", (64, 4, 4)),  # 16 tokens of patches, without that of the class
    ],
)
@torch.no_grad()
def test_maps_of_timm_by_timms_names(name: str, first: str, last: str, shape: tuple[int, ...]) -> None:
    pytest.importorskip("timm")
    model = network(f"timm:{name}")
    names = map_names(model)
    assert (names[0], names[-1]) == (first, last)
    assert feature_map(model, last)(PICTURES).shape == (2, *shape)
    seen: list[Tensor] = []
    module = model.backbone.get_submodule(first)
    module.register_forward_hook(lambda *parts: seen.append(parts[2]))
    found = feature_map(model, first)(PICTURES)
    theirs = seen[0] if seen[0].dim() == 4 else seen[0][:, 1:].transpose(1, 2).reshape(found.shape)
    torch.testing.assert_close(found, theirs)


@torch.no_grad()
def test_maps_in_one_pass_are_those_alone_pooled() -> None:
    pytest.importorskip("timm")
    for model, name in ((network("resnet18", width=4), "layer2"), (network("timm:test_convnext"), "stages.1")):
        expected = feature_map(model, name)(PICTURES).mean(dim=(2, 3))
        found = Stages(model, [name])(PICTURES)
        torch.testing.assert_close(found[name], expected)
        torch.testing.assert_close(found["pooled"], model.features(PICTURES))


@torch.no_grad()
def test_maps_with_channels_behind_are_pooled_over_places() -> None:
    pytest.importorskip("timm")
    model = network("timm:swin_tiny_patch4_window7_224")  # its own maps are (B, H, W, C)
    pictures = torch.randn(1, 3, 224, 224)
    expected = feature_map(model, "layers.1")(pictures).mean(dim=(2, 3))
    assert expected.shape == (1, 192)
    torch.testing.assert_close(Stages(model, ["layers.1"])(pictures)["layers.1"], expected)


def test_a_wrong_name_gets_the_nearest() -> None:
    pytest.importorskip("timm")
    with pytest.raises(UserError, match=r"--layers stages\.9: no such layer\. Did you mean 'stages\.\d'\? It has stag"):
        Stages(network("timm:test_convnext"), ["stages.9"])

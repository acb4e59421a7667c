"""Networks of timm train, save and load like the ResNets."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from swav_cli import SwAV, UserError, load_model
from swav_cli.core.swav import Trainer
from swav_cli.core.timm_backbone import recompute_timm
from swav_cli.core.weights import Model, about, save_model
from swav_cli.data.sources import open_pictures
from swav_cli.planning.micro_batch import made_up_batch
from tests.conftest import tiny_recipe
from tests.training import train

timm = pytest.importorskip("timm")


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_050"])
def test_features_are_timms_pooled_output_at_several_sizes(name: str) -> None:
    model = SwAV(f"timm:{name}", hidden_dim=8, embedding_dim=4, prototypes=3).eval()
    theirs = model.backbone
    with torch.no_grad():
        for size in (96, 64):
            pictures = torch.randn(1, 3, size, size)
            features = model.features(pictures)
            assert features.shape == (1, model.feature_dim)
            pooled = theirs.forward_head(theirs.forward_features(pictures), pre_logits=True)
            torch.testing.assert_close(features, pooled)


SHAPE = ("model.width=64", "model.stem=imagenet", "crops.0.size=48", "crops.1.size=32", "training.epochs=2")


@pytest.mark.parametrize("name", ["resnet10t", "test_vit"])
def test_a_network_of_timm_trains_and_comes_back(tmp_path: Path, name: str) -> None:
    recipe = tiny_recipe(f"model.backbone=timm:{name}", *SHAPE)
    trainer = Trainer(recipe, open_pictures(recipe.data.train), torch.device("cpu"))
    loss = train(trainer, tmp_path)[-1].loss
    assert math.isfinite(loss)
    save_model(tmp_path / "model.safetensors", Model(trainer.model, about(recipe)))
    model = load_model(tmp_path)
    assert model.about.backbone == f"timm:{name}"
    pictures = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.features(pictures), trainer.model.eval().features(pictures))


def test_an_unknown_network_gets_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no network of that name. Did you mean 'convnext_nano'"):
        SwAV("timm:convnext_nanno")


def test_what_shapes_a_resnet_is_refused() -> None:
    with pytest.raises(UserError, match=r"model.width \(8\) is of ResNets, and model.backbone is timm:resnet10t"):
        tiny_recipe("model.backbone=timm:resnet10t", "model.width=8", "model.stem=imagenet")


def test_parts_computed_anew_change_nothing() -> None:
    """Among them norms with running statistics, which count a batch once."""
    found = []
    for recomputes in ("false", "true"):
        recipe = tiny_recipe("model.backbone=timm:resnet10t", f"training.checkpoint_activations={recomputes}", *SHAPE)
        trainer = Trainer(recipe, open_pictures(recipe.data.train), torch.device("cpu"))
        trainer.model.train()
        loss = trainer.train_step([made_up_batch(recipe, 4)])
        found.append((loss, trainer.model.state_dict()))
    (kept, weights), (anew, others) = found
    assert kept == anew
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    with pytest.raises(UserError, match=r"checkpoint_activations \(true\): timm's Linear can't"):
        recompute_timm(torch.nn.Linear(1, 1))

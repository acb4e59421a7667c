"""The Python interface, as the README uses it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import swav_cli as swav
from swav_cli.core.plan import make_model
from swav_cli.core.weights import Model, about, save_model
from tests.conftest import tiny_recipe


@pytest.fixture
def model(tmp_path: Path) -> swav.Model:
    recipe = tiny_recipe()
    save_model(tmp_path / "run" / "model.safetensors", Model(make_model(recipe), about(recipe)))
    return swav.load_model(tmp_path / "run")


def test_methods_of_a_model(model: swav.Model) -> None:
    x = torch.randn(2, 3, 16, 16)
    assert model.features(x).shape == (2, 32)
    torch.testing.assert_close(model.embed(x).norm(dim=1), torch.ones(2))
    assert model.scores(x).shape == (2, 12)
    assert not model.features(x).requires_grad
    with pytest.raises(swav.UserError, match="classifier"):
        model.classify(x)


def test_a_picture_from_file_to_features(model: swav.Model, photos: Path) -> None:
    picture = swav.read_picture(next(photos.glob("*/*.png")))
    assert model.features(model.prepare(picture)).shape == (1, 32)


def test_extract_and_predict(model: swav.Model, photos: Path) -> None:
    features, paths = swav.extract(model, photos)
    assert features.shape == (40, 32)
    assert np.isfinite(features).all()
    assert paths == sorted(paths)
    again, _ = swav.extract(model, paths[:3])
    np.testing.assert_allclose(again, features[:3], rtol=0.05, atol=0.05)  # bf16 where the processor has it
    answers = list(swav.predict(model, paths[:3], top_k=2))
    assert [answer.path for answer in answers] == paths[:3]
    assert all(len(answer.top) == 2 for answer in answers)
    with pytest.raises(swav.UserError, match="empty list"):
        swav.extract(model, [])


def test_models_are_listed() -> None:
    assert "swav-800e" in swav.list_models("*resnet50*")

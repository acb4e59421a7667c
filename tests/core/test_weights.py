"""A network and its description in one file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from swav_cli import SwAV, UserError
from swav_cli.core.weights import About, read_model, save_model

DESCRIBED = About(
    "resnet18", width=4, stem="small", channels=1, hidden_dim=8, embedding_dim=4, prototypes=5, classes=("a", "b"),
    size=32, mean=(0.5,), std=(0.25,), source="tiny", licence="MIT",
)  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    model = DESCRIBED.build()
    save_model(tmp_path / "model.safetensors", model, DESCRIBED)
    read, described = read_model(tmp_path / "model.safetensors")
    assert described == DESCRIBED
    assert not read.training
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in read.state_dict().items())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("null", "holds no description"),
        ("[1", "not a model of swav"),
        (DESCRIBED.to_json().replace('"size"', '"zoom"'), r"made by a newer swav \(zoom\)"),
        (DESCRIBED.to_json().replace('"width": 4', '"width": 8'), "not those of its description .*size mismatch"),
        (
            DESCRIBED.to_json().replace('"prototypes": 5', '"prototypes": 0'),
            "not those of its description .*Unexpected",
        ),
    ],
)
def test_a_file_that_is_not_whole_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, DESCRIBED.build(), DESCRIBED)
    save_file(load_file(path), path, {"swav": text})
    with pytest.raises(UserError, match=told):
        read_model(path)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model"):
        read_model(tmp_path / "model.safetensors")


def test_a_description_builds_the_network() -> None:
    model = DESCRIBED.build()
    assert isinstance(model, SwAV)
    assert [model.has(part) for part in ("projection_head", "prototypes", "fc")] == [True] * 3

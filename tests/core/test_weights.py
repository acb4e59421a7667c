"""A network and its description in one file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from swav_cli import SwAV, UserError
from swav_cli.core.weights import About, Model, read_model, save_model

DESCRIBED = About(
    "resnet18", width=4, stem="small", channels=1, hidden_dim=8, embedding_dim=4, prototypes=5, classes=("a", "b"),
    size=32, mean=(0.5,), std=(0.25,), source="tiny", licence="MIT",
)  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    model = DESCRIBED.build()
    save_model(tmp_path / "model.safetensors", Model(model, DESCRIBED))
    found = read_model(tmp_path / "model.safetensors")
    read, described = found.network, found.about
    assert described == DESCRIBED
    assert not read.training
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in read.state_dict().items())


def test_names_of_classes_that_are_no_utf8(tmp_path: Path) -> None:
    """As folders have them that another system has written."""
    described = replace(DESCRIBED, classes=("caf\udce9", "\udcff"), source="runs/\udce9")
    save_model(tmp_path / "model.safetensors", Model(described.build(), described))
    assert read_model(tmp_path / "model.safetensors").about == described


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("null", "holds no description"),
        ("[1", "not a model of swav"),
        *(
            (DESCRIBED.to_json().replace(said, other), rf"not a model of swav \({told}")
            for said, other, told in (
                ('"size": 32', '"size": "32"', "size: Input should be a valid integer"),
                ('"size": 32', '"size": -1', "size: -1"),
                ('"size": 32', '"size": 100000', "size: 100000"),
                ('"backbone": "resnet18"', '"backbone": "resnet1"', "backbone: no 'resnet1'"),
                ('"mean": [0.5]', '"mean": "x"', "mean: Input should be a valid"),
                ('"std": [0.25]', '"std": [0.0]', "mean .* and std .* for 1 channels"),
                ('"std": [0.25]', '"std": [0.25, 0.25]', "mean .* and std .* for 1 channels"),
                ('"embedding_dim": 4', '"embedding_dim": 0', "prototypes without"),
            )
        ),
        # what would take terabytes is refused before memory is asked for
        (DESCRIBED.to_json().replace('"width": 4', '"width": 1000000'), "not those of its description .*size mismatch"),
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
    save_model(path, Model(DESCRIBED.build(), DESCRIBED))
    save_file(load_file(path), path, {"swav": text})
    with pytest.raises(UserError, match=told):
        read_model(path)


def test_heads_of_a_network_of_timm_are_compared_first(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    described = About("timm:test_convnext", hidden_dim=8, embedding_dim=4, prototypes=5, size=32)
    path = tmp_path / "model.safetensors"
    save_model(path, Model(described.build(), described))
    assert read_model(path).about == described
    save_file(load_file(path), path, {"swav": described.to_json().replace('"prototypes": 5', '"prototypes": 1000000')})
    with pytest.raises(UserError, match=r"prototypes\.weight has 5 rows, and 1000000 are described"):
        read_model(path)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model"):
        read_model(tmp_path / "model.safetensors")


def test_a_description_builds_the_network() -> None:
    model = DESCRIBED.build()
    assert isinstance(model, SwAV)
    assert [model.has(part) for part in ("projection_head", "prototypes", "fc")] == [True] * 3

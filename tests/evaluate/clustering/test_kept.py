"""What a folder keeps: parts, pictures that change and go, work that is stopped, and where pictures are compared."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from swav_cli.core.weights import About, Model
from swav_cli.data.sources import open_pictures
from swav_cli.errors import Interrupted, UserError
from swav_cli.evaluate.clustering import seen as module
from swav_cli.evaluate.clustering.kept import Kept, keys_of
from swav_cli.evaluate.clustering.seen import nearest_of, see
from swav_cli.evaluate.clustering.space import FEW, MOST, space_of
from swav_cli.evaluate.inference import CPU, Inference
from swav_cli.evaluate.prediction import predict


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    about = About(
        "resnet18", width=4, stem="small", hidden_dim=8, embedding_dim=8, prototypes=6, size=16,
        mean=(0.5,) * 3, std=(0.25,) * 3,
    )  # fmt: skip
    return Model(about.build(), about)


HOW = Inference(CPU, batch_size=5, workers=0)


def test_stopped_work_goes_on(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 10)
    monkeypatch.setattr(module, "PART", 10)
    pictures, kept = open_pictures("shapes:40"), Kept(tmp_path, {"model": "m"})

    def stop(done: int, count: int) -> None:
        if done == 25:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="stopped at 25 of 40 pictures; all is kept"):
        see(model, pictures, HOW, kept, stop)
    assert len(kept.parts()) == 3
    rest = see(model, pictures, HOW, kept)
    assert rest.new == 15
    whole = see(model, pictures, HOW, Kept(tmp_path / "other", {}))
    assert (rest.row.digest == whole.row.digest).all()
    assert rest.row.points == pytest.approx(whole.row.points, abs=1e-5)
    assert (rest.row.assigned[:, 0] == whole.row.assigned[:, 0]).all()
    assert see(model, pictures, HOW, kept).new == 0


def test_a_damaged_part_is_told(model: Model, tmp_path: Path) -> None:
    pictures, kept = open_pictures("shapes:8"), Kept(tmp_path, {})
    see(model, pictures, HOW, kept)
    kept.parts()[0].write_bytes(b"PK")
    with pytest.raises(UserError, match=r"part-00000\.npz: can't be read"):
        see(model, pictures, HOW, kept)


def test_what_is_kept_is_what_the_model_answers(model: Model, tmp_path: Path) -> None:
    pictures = open_pictures("shapes:12")
    row = see(model, pictures, HOW, Kept(tmp_path, {})).row
    for said, answer in zip(row.assigned.tolist(), predict(model, pictures, 2, HOW), strict=True):
        first, second = answer.top
        assert said == pytest.approx([first.number, first.probability, second.number, answer.margin], abs=1e-5)
    assert row.size.tolist() == [[32, 32]] * 12
    assert nearest_of(torch.ones(1, 1)).tolist() == [[0, 1, -1, 0]]


def test_pictures_in_a_tar_change_with_it(tmp_path: Path) -> None:
    from tests.data.tars import sample_tar

    sample_tar(tmp_path / "a.tar", 3)
    keys, stamps = keys_of(open_pictures(str(tmp_path / "a.tar")))
    assert len(set(keys)) == 3
    assert {stamp.length for stamp in stamps} == {(tmp_path / "a.tar").stat().st_size}


def test_main_directions_of_wide_features() -> None:
    rng = np.random.default_rng(0)
    low = rng.standard_normal((FEW, 20)) @ rng.standard_normal((20, 3 * MOST)) + 5
    features = torch.from_numpy(low.astype(np.float32))
    space = space_of(features)
    assert (space.dimensions, space_of(features[: FEW - 1]).dimensions) == (MOST, 3 * MOST)
    unit = torch.nn.functional.normalize(features, dim=1)
    less = torch.nn.functional.normalize(unit - unit.mean(dim=0), dim=1)
    points = space.points(features)
    assert torch.allclose(points @ points.T, less @ less.T, atol=1e-4)  # all directions that there are

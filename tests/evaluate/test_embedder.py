"""A model in a pipeline: whatever pictures come as, they get the rows that `extract` gives."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from swav_cli import Embedder
from swav_cli.core.weights import About, Model
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError
from swav_cli.evaluate.features import extract_features

ABOUT = About("resnet18", width=4, stem="small", hidden_dim=16, embedding_dim=8, size=16, source="tiny")
FLOAT32 = {"device": "cpu", "precision": "float32"}


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return Model(ABOUT.build(), ABOUT)


@pytest.fixture
def paths(photos: Path) -> list[str]:
    return sorted(map(str, photos.glob("*/*.png")))[:11]


def expected(model: Model, photos: Path) -> Any:
    return extract_features(model.network.features, open_pictures(str(photos)), ABOUT).numpy()[:11]


def alike(found: Any, rows: Any) -> None:
    np.testing.assert_allclose(found, rows, rtol=1e-5, atol=1e-6)


def test_bytes_paths_mappings_and_pixels_are_one(model: Model, paths: list[str], photos: Path) -> None:
    contents = [Path(path).read_bytes() for path in paths]
    rows = expected(model, photos)
    embedder = Embedder(model, batch_size=4, threads=3, **FLOAT32)
    for given in (
        paths,
        list(map(Path, paths)),
        contents,
        [{"bytes": content, "path": "no matter"} for content in contents],
        [{"bytes": None, "path": path} for path in paths],
        [np.asarray(Image.open(path)) for path in paths],
        np.stack([np.asarray(Image.open(path)) for path in paths]),
    ):
        found = embedder.embed(given)
        alike(found.features, rows)
        assert found.errors == [""] * 11


def test_what_can_not_be_read_is_nan_with_its_reason(model: Model, paths: list[str], photos: Path) -> None:
    embedder = Embedder(model, batch_size=2, **FLOAT32)
    bad = [b"", "nowhere.png", None, {"bytes": None, "path": None}, 7, np.zeros((2, 2, 5), np.uint8)]
    found = embedder.embed([paths[0], *bad, paths[1]])
    assert np.isnan(found.features).all(axis=1).tolist() == [False, *[True] * 6, False]
    alike(found.features[[0, 7]], expected(model, photos)[:2])
    assert found.errors[0] == found.errors[7] == ""
    assert found.errors[1:3] == ["the file is empty", "No such file or directory"]
    assert all("neither bytes, nor a path, nor pixels" in reason for reason in found.errors[3:6])
    assert embedder.embed([]).features.shape == (0, 32)


def test_batches_of_a_pipeline_keep_their_other_columns(model: Model, paths: list[str], photos: Path) -> None:
    embedder, rows = Embedder(model, **FLOAT32), expected(model, photos)
    numbers = np.arange(11)
    structs = np.array([{"bytes": Path(path).read_bytes(), "path": path} for path in paths], dtype=object)
    found = embedder({"label": numbers, "image": structs})
    assert list(found) == ["label", "path", "features", "error"]
    assert found["path"].tolist() == paths
    assert found["label"] is numbers
    alike(found["features"], rows)
    assert found["error"].tolist() == [""] * 11
    by_path = embedder({"path": np.array(paths), "n": numbers})
    assert list(by_path) == ["n", "path", "features", "error"]
    alike(by_path["features"], rows)
    beside = embedder({"bytes": [each["bytes"] for each in structs], "path": np.array(paths)})
    assert list(beside) == ["path", "features", "error"]


def test_tables_come_back_as_tables(model: Model, paths: list[str], photos: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": Path(path).read_bytes(), "path": path} for path in paths], kind)
    table = Embedder(model, column="photo", **FLOAT32)(pa.table({"photo": images, "n": pa.array(range(11))}))
    assert table.column_names == ["n", "path", "features", "error"]
    assert table.schema.field("features").type == pa.list_(pa.float32(), 32)
    assert table.column("path").to_pylist() == paths
    alike(np.array(table.column("features").to_pylist()), expected(model, photos))
    pd = pytest.importorskip("pandas")
    frame = Embedder(model, **FLOAT32)(pd.DataFrame({"path": paths, "n": range(11)}))
    assert list(frame.columns) == ["n", "path", "features", "error"]
    alike(np.stack(frame["features"]), expected(model, photos))


def test_layers_and_mistakes(model: Model, paths: list[str]) -> None:
    unit = Embedder(model, "embedding", normalize=True, **FLOAT32).embed(paths).features
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-5)
    with pytest.raises(UserError, match="no such layer"):
        Embedder(model, "poled", **FLOAT32)
    with pytest.raises(UserError, match="Did you mean 'image'"):
        Embedder(model, column="imag", **FLOAT32)({"image": paths})
    with pytest.raises(UserError, match="say which with column=: a, b"):
        Embedder(model, **FLOAT32)({"a": paths, "b": paths})
    assert pickle.loads(pickle.dumps(model)).about == ABOUT  # as a pipeline hands it to its workers

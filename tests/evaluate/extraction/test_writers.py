"""Every format of features, read back by the library that people read it with."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from swav_cli.errors import UserError
from swav_cli.evaluate.extraction import writers
from swav_cli.evaluate.extraction.writers import FEATURE_FORMATS, Output, Table, open_output

NAMES = ["a/1.png", 'a/comma, and "quote".png', "b/3.png"]
FEATURES = np.array([[0.1, -2.0, 1e-30], [np.nan] * 3, [1 / 3, 1e30, 7.0]], dtype=np.float32)


def table(labelled: bool = True, features: np.ndarray = FEATURES) -> Table:  # type: ignore[type-arg]
    labels = np.array([0, 0, 1]) if labelled else None
    return Table(features, NAMES.__getitem__, labels, ["a", "b"] if labelled else None, {"layer": "pooled"})


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "PART", 6)  # two rows at a time


def test_npz(tmp_path: Path) -> None:
    writers.write_npz(tmp_path / "f.npz", table())
    with np.load(tmp_path / "f.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["features"], FEATURES)
        assert found["paths"].tolist() == NAMES
        assert [found["classes"][label] for label in found["labels"]] == ["a", "a", "b"]
        assert json.loads(str(found["description"])) == {"layer": "pooled"}


def test_safetensors(tmp_path: Path) -> None:
    writers.write_safetensors(tmp_path / "f.safetensors", table())
    with safe_open(tmp_path / "f.safetensors", framework="np") as found:
        np.testing.assert_array_equal(found.get_tensor("features"), FEATURES)
        assert found.get_tensor("labels").tolist() == [0, 0, 1]
        assert json.loads(found.metadata()["swav"]) == {"layer": "pooled"}


def test_pt_holds_no_code(tmp_path: Path) -> None:
    writers.write_pt(tmp_path / "f.pt", table())
    found = torch.load(tmp_path / "f.pt", weights_only=True)
    torch.testing.assert_close(found["features"], torch.from_numpy(FEATURES), equal_nan=True, rtol=0, atol=0)
    assert found["paths"] == NAMES
    assert found["classes"] == ["a", "b"]
    assert found["labels"].tolist() == [0, 0, 1]


@pytest.mark.parametrize("labelled", [True, False])
def test_csv_loses_nothing(tmp_path: Path, labelled: bool) -> None:
    writers.write_csv(tmp_path / "f.csv", table(labelled))
    with open(tmp_path / "f.csv", encoding="utf-8", newline="") as file:
        heading, *rows = csv.reader(file)
    columns = ["path", "label"] if labelled else ["path"]
    assert heading == [*columns, "f0", "f1", "f2"]
    assert [row[0] for row in rows] == NAMES
    values = np.array([row[len(columns) :] for row in rows], dtype=np.float32)
    np.testing.assert_array_equal(values, FEATURES)


@pytest.mark.parametrize("labelled", [True, False])
def test_parquet(tmp_path: Path, labelled: bool) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    writers.write_parquet(tmp_path / "f.parquet", table(labelled))
    file = parquet.ParquetFile(tmp_path / "f.parquet")
    assert file.num_row_groups == 2
    assert json.loads(file.schema_arrow.metadata[b"swav"]) == {"layer": "pooled"}
    found = file.read()
    assert found.column_names == (["path", "label", "features"] if labelled else ["path", "features"])
    assert found["path"].to_pylist() == NAMES
    np.testing.assert_array_equal(np.array(found["features"].to_pylist(), dtype=np.float32), FEATURES)


def test_maps_in_parquet_are_flat(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    maps = np.arange(3 * 8, dtype=np.float32).reshape(3, 2, 2, 2)
    writers.write_parquet(tmp_path / "f.parquet", table(features=maps))
    found = parquet.read_table(tmp_path / "f.parquet")["features"].to_pylist()
    np.testing.assert_array_equal(np.array(found).reshape(maps.shape), maps)


def test_a_line_a_name(tmp_path: Path) -> None:
    names = ["a\nb.png", "caf\udce9.png", "c.png"]
    writers.write_lines(tmp_path / "p.txt", table()._replace(names=names.__getitem__))
    assert (tmp_path / "p.txt").read_bytes() == b"a\\nb.png\ncaf\xe9.png\nc.png\n"
    odd = ["icon\r.png", "a\u2028\x85\\\v.png", "plain\\n.png"]
    writers.write_lines(tmp_path / "p.txt", table()._replace(names=odd.__getitem__))
    lines = (tmp_path / "p.txt").read_text(encoding="utf-8").splitlines()
    assert lines == ["icon\\r.png", "a\\u2028\\x85\\\\\\x0b.png", "plain\\n.png"]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    odd = table()._replace(names=["a.png", "caf\udce9.png", "c.png"].__getitem__, classes=["caf\udce9", "b\udcff"])
    assert odd.labels is not None
    for suffix, made in FEATURE_FORMATS.items():
        if made.write is not None:
            made.write(tmp_path / f"f{suffix}", odd)


def test_work_can_end_between_parts(tmp_path: Path) -> None:
    def check() -> None:
        raise InterruptedError

    for write in (writers.write_csv, writers.write_parquet):
        with pytest.raises(InterruptedError):
            write(tmp_path / "f", table()._replace(check=check))


def test_files_beside() -> None:
    npy, rest = Output(Path("x/feats.npy")), Output(Path("x/feats.csv"))
    assert [path.name for path in npy.files()] == ["feats.npy", "feats.paths.txt", "feats.labels.npy", "feats.json"]
    assert [path.name for path in rest.files()] == ["feats.csv", "feats.csv.json"]
    assert npy.unfinished == Path("x/feats.npy.part")
    assert Output(Path("x/my.feats.v2.NPY")).description.name == "my.feats.v2.json"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("f.parket", "'.parket' is no format of features. Did you mean '.parquet'? Known are .npy, .npz, .safetensors"),
        ("f", "the name tells no format"),
        ("", "tells no format"),
        ("nowhere/f.npy", "there is no folder"),
        ("folder.npy", "is a folder; name a file"),
    ],
)
def test_a_mistake_in_the_name(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(UserError) as refused:
        open_output(tmp_path / name, is_map=False)
    assert message in str(refused.value)


def test_maps_do_not_fit_into_csv(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not fit into a table; use .*f\.npy"):
        open_output(tmp_path / "f.csv", is_map=True)


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(writers, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'swav-cli\[parquet\]'"):
        open_output(tmp_path / "f.parquet", is_map=False)


def test_unfinished_rows_of_a_long_name_have_a_place_of_their_own() -> None:
    names = [f"{'y' * 243}{digit}.safetensors"[-250:] for digit in "12"]
    places = [writers.Output(Path(name)).unfinished.name for name in names]
    assert places[0] != places[1]
    for place in places:
        assert len(place) == 255
        assert place.endswith(".safetensors.part")

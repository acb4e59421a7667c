"""Folders with a table of their pictures beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from swav_cli.data.labelled import labels_of
from swav_cli.data.pictures import Pictures
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures in two parts."""
    for name in ("train/0.png", "train/1.png", "train/deep/2.png", "test/0.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 4)).save(tmp_path / "set" / name)
    return tmp_path / "set"


def told(pictures: Pictures) -> dict[str, str]:
    labels, classes = labels_of(pictures)
    return {pictures.below(index): classes[label] for index, label in enumerate(labels)}


def describe(path: Path, labels: dict[str, str]) -> None:
    if path.suffix == ".parquet":
        pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pa.table({"file_name": list(labels), "label": list(labels.values())}), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"file_name": n, "label": label}) + "\n" for n, label in labels.items()))
    else:
        mark = "\t" if path.suffix == ".tsv" else ","
        path.write_text(f"file_name{mark}label\n" + "".join(f"{n}{mark}{label}\n" for n, label in labels.items()))


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "metadata.tsv", "metadata.parquet"])
def test_the_table_of_a_part(name: str, folder: Path) -> None:
    labels = {"0.png": "b", "1.png": "a", "./deep/2.png": "b"}
    describe(folder / "train" / name, labels)
    assert told(open_pictures(str(folder / "train"))) == {"0.png": "b", "1.png": "a", "deep/2.png": "b"}
    describe(folder / "test" / name, {"0.png": "c"})
    assert told(open_pictures(str(folder))) == {
        "test/0.png": "c", "train/0.png": "b", "train/1.png": "a", "train/deep/2.png": "b",
    }  # fmt: skip


def test_the_table_of_the_whole(folder: Path) -> None:
    describe(
        folder / "metadata.csv", {"train/0.png": "2", "train/1.png": "10", "train/deep/2.png": "2", "test/0.png": "1"}
    )
    pictures = open_pictures(str(folder))
    assert pictures.classes == ["1", "2", "10"]
    assert pictures.fingerprint() == open_pictures(str(folder)).fingerprint()


def test_parts_of_img2dataset_are_no_classes(tmp_path: Path) -> None:
    for name in ("00000/000000000.jpg", "00001/000010000.jpg"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (5, 4)).save(tmp_path / name)
    assert open_pictures(str(tmp_path)).classes == ["00000", "00001"]  # somebody's own
    (tmp_path / "00000_stats.json").write_text("{}")
    pictures = open_pictures(str(tmp_path))
    assert (pictures.labels, pictures.classes, len(pictures)) == (None, None, 2)
    with pytest.raises(UserError, match="such as 00000, are parts that img2dataset has made and no classes"):
        labels_of(pictures)


def test_what_a_table_leaves_out_and_what_is_not_there(folder: Path) -> None:
    describe(folder / "train/metadata.csv", {"0.png": "b", "1.png": "a", "gone.png": "a"})
    pictures = open_pictures(str(folder / "train"))
    table = folder / "train/metadata.csv"
    assert pictures.remarks == [f"{table}: 1 of its pictures are not there, first gone.png"]
    with pytest.raises(UserError, match=r"deep/2\.png has no label in .*metadata\.csv \(1 of 3 pictures"):
        labels_of(pictures)


def test_a_table_of_other_pictures_leaves_the_folders_to_be_classes(folder: Path) -> None:
    describe(folder / "metadata.csv", {"elsewhere/0.png": "b", "elsewhere/1.png": "a"})
    pictures = open_pictures(str(folder))
    assert pictures.classes == ["test", "train"]
    table = folder / "metadata.csv"
    assert pictures.remarks == [f"{table}: passed over, since it names none of the pictures"]


@pytest.mark.parametrize("text", ["file_name,text\n0.png,x\n", "a,b\n1,2\n", '"', "\0"])
def test_a_table_without_labels_leaves_the_folders_to_be_classes(text: str, folder: Path) -> None:
    (folder / "metadata.csv").write_text(text)
    pictures = open_pictures(str(folder))
    assert pictures.classes == ["test", "train"]
    assert [remark.startswith("passed over: ") for remark in pictures.remarks] == ([] if "file" in text else [True])

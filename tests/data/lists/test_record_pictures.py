"""Pictures in Parquet and Arrow files, as Hugging Face's datasets writes them and others do."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.inputs import open_inputs, with_channels
from swav_cli.data.labelled import labels_of, train_and_val_in
from swav_cli.data.lists import record_files
from swav_cli.data.pictures import Pictures, digest
from swav_cli.data.reading.readers import Readers
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError
from tests.data.tars import png

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def levels(pictures: Pictures) -> list[int]:
    return [int(pictures.read(index)[0, 0, 0]) for index in range(len(pictures))]


def words(pictures: Pictures) -> list[str]:
    labels, classes = labels_of(pictures)
    return [classes[label] for label in labels]


def as_datasets(first: int, count: int, names: list[str] | None = None) -> Any:
    """A table as `datasets` has it: image and label, described in the schema."""
    features: dict[str, Any] = {"image": {"_type": "Image"}, "label": {"dtype": "int64", "_type": "Value"}}
    if names:
        features["label"] = {"names": names, "_type": "ClassLabel"}
    told = json.dumps({"info": {"features": features}})
    schema = pa.schema([("image", IMAGE), ("label", pa.int64())], {"huggingface": told})
    numbers = range(first, first + count)
    images = [{"bytes": png(number), "path": f"{number}.png"} for number in numbers]
    return pa.table([pa.array(images, IMAGE), pa.array([number % 3 for number in numbers])], schema=schema)


def write(path: str, table: Any, rows_a_group: int = 2) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, row_group_size=rows_a_group)
    return path


def save_to_disk(folder: str, table: Any, is_stream: bool = True) -> None:
    """What `Dataset.save_to_disk` makes."""
    Path(folder).mkdir(parents=True)
    Path(folder, "dataset_info.json").write_text("{}")
    Path(folder, "state.json").write_text("{}")
    with pa.OSFile(f"{folder}/data-00000-of-00001.arrow", "wb") as file:
        make = pa.ipc.new_stream if is_stream else pa.ipc.new_file
        with make(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)


def test_parquet_of_datasets() -> None:
    write("x.parquet", as_datasets(0, 7, ["owl", "cat", "ant"]))
    pictures = open_pictures("x.parquet")
    assert levels(pictures) == list(range(7))
    assert pictures.classes == ["owl", "cat", "ant"]  # whose numbers the labels are
    assert pictures.labels is not None
    assert pictures.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert (pictures.name(6), pictures.below(6)) == ("x.parquet/000006", "x.parquet/000006")
    assert with_channels(pictures, 1).read(5).shape == (1, 4, 5)
    with pytest.raises(IndexError):
        pictures.read(7)


@pytest.mark.parametrize("is_stream", [True, False])
def test_arrow_of_datasets(is_stream: bool) -> None:
    save_to_disk("saved", as_datasets(3, 5, ["owl", "cat", "ant"]), is_stream)
    pictures = open_pictures("saved")
    assert levels(pictures) == [3, 4, 5, 6, 7]
    assert words(pictures) == ["owl", "cat", "ant", "owl", "cat"]
    assert levels(open_pictures("saved/data-00000-of-00001.arrow")) == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("place", ["data/{}-00000-of-00001.parquet", "default/{}/0000.parquet", "{}.parquet"])
def test_parts_of_a_data_set_in_a_folder(place: str) -> None:
    write(f"set/{place.format('train')}", as_datasets(0, 4))
    write(f"set/{place.format('test')}", as_datasets(10, 2))
    assert levels(open_pictures("set", "train")) == [0, 1, 2, 3]
    assert levels(open_pictures("set", "val")) == [10, 11]
    assert sorted(levels(open_inputs(["set"]))) == [0, 1, 2, 3, 10, 11]


def test_of_several_parts_to_judge_by_one_is_taken() -> None:
    """As of ImageNet, whose test part has no labels."""
    for number, part in enumerate(("train", "validation", "test")):
        write(f"set/data/{part}-00000.parquet", as_datasets(10 * number, 2))
    assert levels(open_pictures("set", "val")) == [10, 11]
    found = train_and_val_in("set")
    assert found is not None
    assert [levels(open_pictures(source)) for source in found] == [[0, 1], [10, 11]]


def test_a_folder_of_one_part_is_all_of_it() -> None:
    write("set/train-0.parquet", as_datasets(0, 4))
    assert levels(open_pictures("set", "train")) == [0, 1, 2, 3]
    with pytest.raises(UserError, match="holds no pictures"):
        open_pictures("set", "val")
    write("other/0.parquet", as_datasets(0, 4))
    assert levels(open_pictures("other", "train")) == levels(open_pictures("other", "val")) == [0, 1, 2, 3]


def test_both_parts_of_a_folder_are_found_to_train_and_to_judge_by() -> None:
    assert train_and_val_in("set") is None
    for part, count in (("train", 2), ("validation", 1)):
        for number in range(count):
            write(f"set/data/{part}-{number}.parquet", as_datasets(10 * number + len(part), 1))
    found = train_and_val_in("set")
    assert found is not None
    assert [levels(open_pictures(source)) for source in found] == [[5, 15], [10]]


def test_a_folder_of_pictures_is_one_whatever_lies_beside_them() -> None:
    for name in ("train.parquet", "test.parquet"):
        write(f"set/{name}", as_datasets(0, 2))
    assert train_and_val_in("set") is not None
    Path("set/ant").mkdir()
    Path("set/ant/0.png").write_bytes(png(0))
    assert train_and_val_in("set") is None


def test_a_saved_dictionary_of_parts() -> None:
    save_to_disk("saved/train", as_datasets(0, 4))
    save_to_disk("saved/test", as_datasets(10, 2))
    assert levels(open_pictures("saved", "train")) == [0, 1, 2, 3]
    assert levels(open_pictures("saved", "val")) == [10, 11]
    assert levels(open_pictures("saved/train", "val")) == [0, 1, 2, 3]


def test_several_files_are_called_by_their_folder_or_as_they_were_named() -> None:
    for name in ("a", "b"):
        write(f"set/{name}.parquet", as_datasets(0, 2))
    assert open_pictures("set").source == "set"
    assert open_inputs(["set/a.parquet", "set/b.parquet"]).source == "set/a.parquet set/b.parquet"


def test_several_files_and_patterns() -> None:
    for number in range(3):
        write(f"p/{number}.parquet", as_datasets(2 * number, 2))
    assert levels(open_pictures("p/*.parquet")) == levels(open_inputs(["p/2.parquet", "p/0.parquet", "p/1.parquet"]))
    assert levels(open_pictures("p/{0,2}.parquet")) == [0, 1, 4, 5]
    found = [open_pictures(source) for source in ("p/*.parquet", "p/0.parquet", "p/1.parquet")]
    assert len({(each.fingerprint(), *each.contents()) for each in found}) == 3
    with pytest.raises(UserError, match=r"p/7\.parquet: no such file\. Did you mean '\d\.parquet'"):
        open_pictures("p/7.parquet")
    with pytest.raises(UserError, match="can't be joined with other inputs"):
        open_inputs(["p/0.parquet", "p"])


def test_the_same_whatever_a_file_is_called() -> None:
    write("p/0.parquet", as_datasets(0, 2))
    before = open_pictures("p/0.parquet")
    known = before.fingerprint(), before.contents()
    Path("p/0.parquet").rename("1.parquet")
    after = open_pictures("1.parquet")
    assert (after.fingerprint(), after.contents()) == known
    assert before.former_fingerprints() == {digest(f"0.parquet\n{Path('1.parquet').stat().st_size}\n2\n")}


@pytest.mark.parametrize("name", ["bytes", "jpg", "image", "whatever"])
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_plain_bytes(name: str, kind: Any) -> None:
    columns = {"thumb": pa.array([png(9)] * 3, kind), name: pa.array([png(n) for n in range(3)], kind)}
    if name == "whatever":
        del columns["thumb"]
    write("x.parquet", pa.table({**columns, "class": ["b", "a", "b"]}))
    pictures = open_pictures("x.parquet")
    assert levels(pictures) == [0, 1, 2]
    assert words(pictures) == ["b", "a", "b"]


def test_paths_from_the_files_own_folder(here: Path) -> None:
    (here / "set/in").mkdir(parents=True)
    for number in range(3):
        (here / f"set/in/{number}.png").write_bytes(png(number))
    names = ["in/2.png", str(here / "set/in/0.png"), "in/gone.png"]
    write("set/x.parquet", pa.table({"preview": ["x.png"] * 3, "file_name": names, "label": [10, 9, 10]}))
    pictures = open_pictures("set/x.parquet")
    assert [int(pictures.read(index)[0, 0, 0]) for index in range(2)] == [2, 0]
    assert pictures.classes == ["9", "10"]
    with pytest.raises(BadPicture, match="No such file"):
        pictures.read(2)
    write("set/y.parquet", pa.table({"image": pa.array([{"bytes": None, "path": "in/1.png"}], IMAGE)}))
    assert levels(open_pictures("set/y.parquet")) == [1]


def test_labels_that_are_missing_are_told() -> None:
    for table, said in (
        (as_datasets(0, 4, ["a", "b"]), r"x\.parquet/000002 has no label \(1 of 4"),  # 2 is no number of a name
        (pa.table({"jpg": [png(1)] * 2, "label": ["x", None]}), r"x\.parquet/000001 has no label \(1 of 2"),
        (pa.table({"jpg": [png(1)] * 2, "label": pa.array([None, None], pa.string())}), "has no labels"),
        (pa.table({"jpg": [png(1)] * 2}), "has no labels"),
    ):
        with pytest.raises(UserError, match=said):
            labels_of(open_pictures(write("x.parquet", table)))


def test_rows_that_hold_no_picture_are_bad_ones() -> None:
    rows = [{"bytes": png(1), "path": None}, None, {"bytes": b"", "path": None}, {"bytes": b"x" * 50, "path": None}]
    write("x.parquet", pa.table({"image": pa.array(rows, IMAGE)}))
    pictures = open_pictures("x.parquet")
    assert pictures.read(0).shape == (3, 4, 5)
    for index in range(1, 4):
        with pytest.raises(BadPicture):
            pictures.read(index)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"is no Parquet file, or is damaged"),
        (b"PAR1 and no more", "is no Parquet file, or is damaged"),
        (None, "no column of it holds pictures; it has: caption, url"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("source", ["x.parquet", "set"])
def test_files_without_pictures(content: bytes | None, said: str, source: str, here: Path) -> None:
    path = here / ("x.parquet" if source == "x.parquet" else "set/x.parquet")
    write(str(path), pa.table({"caption": ["a"], "url": ["https://host/a.jpg"]}))
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=said) as raised:
        open_pictures(source)
    assert "\n" not in str(raised.value)


def test_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    write("x.parquet", as_datasets(0, 2))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"x\.parquet: reading it needs pyarrow; .* pip install 'swav-cli\[parquet\]'"):
        open_pictures("x.parquet")


def test_features_of_ours_beside_them_are_none() -> None:
    write("set/a.parquet", as_datasets(0, 2))
    features = pa.schema([("path", pa.string()), ("label", pa.string())], {"swav": "{}"})
    write("set/feats.parquet", pa.table([["a.parquet/000000"], ["x"]], schema=features))
    assert levels(open_pictures("set")) == [0, 1]


def test_a_row_group_is_read_once_and_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    write("x.parquet", as_datasets(0, 12), rows_a_group=3)
    read: list[int] = []
    whole = parquet.ParquetFile.read_row_group

    def watched(self: Any, number: int, **options: Any) -> Any:
        read.append(number)
        assert options == {"columns": ["image"], "use_threads": False}
        return whole(self, number, **options)

    monkeypatch.setattr(parquet.ParquetFile, "read_row_group", watched)
    pictures = open_pictures("x.parquet")
    assert read == []  # nothing ahead
    assert levels(pictures) == list(range(12))
    assert levels(pictures) == list(range(12))
    assert read == [0, 1, 2, 3]
    monkeypatch.setattr(record_files, "KEPT", 1)
    record_files._opened.cache_clear()
    read.clear()
    assert [int(pictures.read(index)[0, 0, 0]) for index in (0, 1, 5, 2)] == [0, 1, 5, 2]
    assert read == [0, 1, 0]


def test_what_is_kept_is_bounded_over_all_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        write(f"{number}.parquet", as_datasets(10 * number, 2))
    pictures = open_inputs([f"{number}.parquet" for number in range(3)])
    one = record_files.value_at(pictures.files[0], 0)["bytes"]  # type: ignore[attr-defined]
    monkeypatch.setattr(record_files, "KEPT", 4 * len(one))  # two pictures and what goes with them, less than four
    read: list[int] = []
    whole = parquet.ParquetFile.read_row_group
    monkeypatch.setattr(parquet.ParquetFile, "read_row_group", lambda *a, **k: (read.append(a[1]), whole(*a, **k))[1])
    record_files._row_groups.cache_clear()
    assert levels(pictures) == [0, 1, 10, 11, 20, 21]
    assert len(read) == 3
    pictures.read(0)
    assert len(read) == 4


def test_large_row_groups_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swav_cli.data.lists.record_pictures.KEPT", 10)
    write("x.parquet", as_datasets(0, 2))
    assert open_pictures("x.parquet").remarks[0].startswith("row groups of up to 0 MB, each of which is read whole")


def test_a_file_that_has_changed_is_told() -> None:
    write("x.parquet", as_datasets(0, 2))
    pictures = open_pictures("x.parquet")
    write("x.parquet", as_datasets(0, 5))
    with pytest.raises(BadPicture, match="has changed since it was opened"):
        pictures.read(0)


class Levels(torch.utils.data.Dataset[int]):
    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> int:
        return int(self.pictures.read(index)[0, 0, 0])


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_read_for_themselves(context: str) -> None:
    if context == "fork" and sys.platform in ("win32", "darwin"):
        pytest.skip("workers are not forked there")
    write("x.parquet", as_datasets(0, 12), rows_a_group=3)
    save_to_disk("saved", as_datasets(0, 12))
    for source in ("x.parquet", "saved"):
        pictures = open_pictures(source)
        assert int(pictures.read(4)[0, 0, 0]) == 4  # open in this process as well
        loader = DataLoader(Levels(pictures), batch_size=None, num_workers=1, multiprocessing_context=context)
        assert [int(level) for level in Readers(loader)] == list(range(12))
        assert levels(pickle.loads(pickle.dumps(pictures))) == list(range(12))
        if context == "spawn":
            break

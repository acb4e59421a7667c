"""Where pictures come from, and what is said where nothing comes."""

from __future__ import annotations

import hashlib
import pickle
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.folders.path_table import PathTable
from swav_cli.data.pictures import Limited
from swav_cli.data.sources import open_pictures
from swav_cli.data.torchvision_pictures import TorchvisionPictures, data_folder
from swav_cli.errors import UserError


def draw(root: Path, *names: str) -> None:
    """Small pictures, the n-th of gray level n."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 4), (number, number, number)).save(root / name)


def level(pictures: Any, index: int) -> int:
    return int(pictures.read(index)[0, 0, 0])


# --- folders ------------------------------------------------------------------------------------------------------


def test_a_folder_of_classes(tmp_path: Path) -> None:
    draw(tmp_path, "dog/a.png", "cat/deep/er/b.png", "cat/c.PNG", "ü/d.png")
    pictures = open_pictures(str(tmp_path))
    assert [pictures.name(i) for i in range(4)] == [
        str(tmp_path / name) for name in ("cat/c.PNG", "cat/deep/er/b.png", "dog/a.png", "ü/d.png")
    ]
    assert pictures.classes == ["cat", "dog", "ü"]
    assert pictures.labels is not None
    assert pictures.labels.tolist() == [0, 0, 1, 2]
    assert [level(pictures, i) for i in range(4)] == [2, 1, 0, 3]
    assert pictures.read(0).shape == (3, 4, 5)
    assert open_pictures(str(tmp_path), channels=1).read(0).shape == (1, 4, 5)


@pytest.mark.parametrize("names", [("a.png", "b.png"), ("a.png", "cat/b.png")])
def test_a_folder_with_pictures_of_its_own_has_no_labels(names: tuple[str, ...], tmp_path: Path) -> None:
    draw(tmp_path, *names)
    pictures = open_pictures(str(tmp_path))
    assert len(pictures) == 2
    assert pictures.labels is None
    assert pictures.classes is None


def test_a_folder_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    draw(tmp_path, "photos/a.png")
    assert len(open_pictures("~/photos")) == 1


# --- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "is empty; give a folder"),
        ("  ", "is empty; give a folder"),
        ("photo", "no such folder or list of pictures. Did you mean 'photos'?"),
        ("nowhere/at/all", "no such folder or list of pictures. Give one with --data"),
        ("note.md", "neither a folder nor a list of files"),
        ("photos/a.png", "neither a folder nor a list of files"),
        ("nothing", "holds no pictures (.avif, .bmp, "),
        ("blank.txt", "holds no pictures (.avif, .bmp, "),
        ("missing.txt", "none of 2 files is there, first x.png"),
        ("wrong.csv", "no column of it holds names of pictures"),
        ("x" * 300 + ".txt", "no such folder or list of pictures. Give one with --data"),
        ("x" * 300 + "/a", "no such folder or list of pictures. Give one with --data"),
        ("shapes:", None),
        ("shapes:many", "write it as shapes:COUNT"),
        ("shapes:0", "write it as shapes:COUNT"),
        ("shapes:-5", "write it as shapes:COUNT"),
        ("shapes:5:1:2", "write it as shapes:COUNT"),
        ("shape:500", "Did you mean 'shapes:500'?"),
        ("shapse", "Did you mean 'shapes'?"),
        ("torchvison:CIFAR10", "Did you mean 'torchvision:CIFAR10'?"),
        ("CIFAR10", "Did you mean 'torchvision:CIFAR10'?"),
        ("cifar-10", "Did you mean 'torchvision:CIFAR10'?"),
        ("torchvision:CIFAR", "torchvision has no data set 'CIFAR'. Did you mean 'CIFAR10"),
        ("torchvision:cifar10", "Did you mean 'CIFAR10'?"),
        ("torchvision:wrap_dataset_for_transforms_v2", "torchvision has no data set"),
        ("torchvision:", "torchvision has no data set ''"),
    ],
)
def test_mistakes(source: str, said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw(tmp_path, "photos/a.png")
    (tmp_path / "nothing").mkdir()
    for name, text in {
        "note.md": "x", "blank.txt": "\n# none\n", "missing.txt": "x.png\ny.png\n", "wrong.csv": "a,b\n1,2\n",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    if said is None:
        open_pictures(source)
        return
    with pytest.raises(UserError) as raised:
        open_pictures(source)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(13, "Permission denied", "secret")

    monkeypatch.setattr("swav_cli.data.paths.os.scandir", refuse)
    with pytest.raises(UserError, match=r"secret: can't be read \(Permission denied\)"):
        open_pictures(str(tmp_path))


# --- shapes -------------------------------------------------------------------------------------------------------


def test_shapes_have_their_number_and_seed() -> None:
    pictures = open_pictures("shapes:25:7", "val")
    assert len(pictures) == 25
    assert pictures.labels is not None
    assert pictures.labels.tolist() == [*range(10), *range(10), *range(5)]
    assert len(open_pictures("shapes")) == 5000
    assert pictures.name(3).startswith("shapes/val/dumbbell/")
    with pytest.raises(UserError, match=r"3 channels, not data.channels \(1\)"):
        open_pictures("shapes:25", channels=1)


# --- limit and fingerprints ---------------------------------------------------------------------------------------


def test_a_limit_takes_the_first_of_a_shuffle_fixed_by_the_seed() -> None:
    whole = open_pictures("shapes:100")
    few, more = (open_pictures("shapes:100", limit=limit, seed=4) for limit in (20, 60))
    assert isinstance(few, Limited)
    assert isinstance(more, Limited)
    assert len(few) == 20
    assert set(few.chosen) < set(more.chosen)
    assert list(few.chosen) == sorted(few.chosen)
    assert len(set(few.chosen.tolist())) == 20
    assert few.labels is not None
    assert whole.labels is not None
    for i, chosen in enumerate(few.chosen):
        assert few.name(i) == whole.name(chosen)
        assert torch.equal(few.read(i), whole.read(chosen))
        assert few.labels[i] == whole.labels[chosen]
    assert few.classes == whole.classes
    other = open_pictures("shapes:100", limit=20, seed=5)
    assert isinstance(other, Limited)
    assert set(other.chosen) != set(few.chosen)
    for enough in (None, 100, 1000):
        assert not isinstance(open_pictures("shapes:100", limit=enough), Limited)


def test_fingerprints(tmp_path: Path) -> None:
    draw(tmp_path, *(f"set/{number:04d}.png" for number in range(30)))
    source = str(tmp_path / "set")
    prints = [open_pictures(source).fingerprint()]
    assert open_pictures(source).fingerprint() == prints[0]
    prints += [open_pictures(source, limit=10, seed=seed).fingerprint() for seed in (0, 1)]
    (tmp_path / "set/0007.png").rename(tmp_path / "set/7.png")
    prints.append(open_pictures(source).fingerprint())
    (tmp_path / "set/0011.png").unlink()
    prints.append(open_pictures(source).fingerprint())
    prints += [open_pictures(name).fingerprint() for name in ("shapes:10", "shapes:11", "shapes:10:1")]
    prints.append(open_pictures("shapes:10", "val").fingerprint())
    assert len(set(prints)) == len(prints)
    (tmp_path / "set").rename(tmp_path / "moved")
    assert open_pictures(str(tmp_path / "moved")).fingerprint() == prints[4]


# --- torchvision --------------------------------------------------------------------------------------------------


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.request.URLError("no network here")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setenv("SWAV_DATA", str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.mark.parametrize("name", ["CIFAR10", "STL10", "MNIST", "Imagenette", "OxfordIIITPet", "EuroSAT"])
def test_without_a_network_and_nothing_on_disk(name: str, no_network: Path) -> None:
    with pytest.raises(UserError) as raised:
        open_pictures(f"torchvision:{name}")
    assert f"torchvision:{name}: is not there and can't be downloaded" in str(raised.value)
    assert str(no_network) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("source", "split", "said"),
    [
        ("torchvision:STL10:labeled", "train", "labeled"),
        ("torchvision:CIFAR10:test", "train", "no parts to choose from"),
        ("torchvision:EuroSAT", "val", "has no held-out part"),
        ("torchvision:ImageNet", "train", "can't be downloaded|scipy"),
        ("torchvision:EMNIST", "train", "byclass"),
        ("torchvision:CocoDetection", "train", "annFile"),
    ],
)
def test_what_torchvision_cannot_do(source: str, split: Any, said: str, no_network: Path) -> None:
    with pytest.raises(UserError, match=said):
        open_pictures(source, split)


def test_a_missing_package_is_named(no_network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def needs(**_: object) -> None:
        raise ModuleNotFoundError("No module named 'scipy'")

    monkeypatch.setattr(datasets, "SVHN", type("SVHN", (), {"__init__": lambda self, root, split: needs()}))
    with pytest.raises(UserError, match="No module named 'scipy'; install that package"):
        open_pictures("torchvision:SVHN")


def cifar_on_disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Two pictures a file in the layout of CIFAR-10's archive."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    files = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    values = rng.integers(0, 256, (len(files), 2, 3072), dtype=np.uint8)
    for number, name in enumerate(files):
        (folder / name).write_bytes(pickle.dumps({"data": values[number], "labels": [number, 9 - number]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"kind {number}" for number in range(10)]}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    return values.reshape(len(files), 2, 3, 32, 32)


def test_a_data_set_on_disk_needs_no_network(
    no_network: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = cifar_on_disk(no_network, monkeypatch)
    train, val = (open_pictures("torchvision:CIFAR10", split) for split in ("train", "val"))  # type: ignore[arg-type]
    assert (len(train), len(val)) == (10, 2)
    assert (train.read(3).numpy() == values[1, 1]).all()
    assert (val.read(0).numpy() == values[5, 0]).all()
    assert train.labels is not None
    assert train.labels.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    assert train.classes == [f"kind {number}" for number in range(10)]
    assert train.name(3) == "torchvision:CIFAR10/3"
    assert train.fingerprint() != val.fingerprint()
    assert open_pictures("torchvision:CIFAR10", channels=1).read(0).shape == (1, 32, 32)
    assert len(open_pictures("torchvision:CIFAR10", limit=4)) == 4
    assert capsys.readouterr().out == ""


def test_imagenette_on_disk_has_labels(no_network: Path) -> None:
    for part in ("train", "val"):
        for kind in ("n01440764", "n02102040"):
            draw(no_network / "imagenette2-160" / part / kind, "a.png", "b.png")
            for name in ("a", "b"):
                (no_network / f"imagenette2-160/{part}/{kind}/{name}.png").rename(
                    no_network / f"imagenette2-160/{part}/{kind}/{name}.jpeg"
                )
    for part in ("train", "val"):
        pictures = open_pictures("torchvision:Imagenette", part)  # type: ignore[arg-type]
        assert pictures.labels is not None
        assert pictures.labels.tolist() == [0, 0, 1, 1]
        assert pictures.classes == ["tench", "English springer"]


class Fake:
    """What a data set of torchvision looks like from outside."""

    def __init__(self, pictures: list[Any], **attributes: Any) -> None:
        self.pictures = pictures
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        if isinstance(self.pictures[index], Exception):
            raise self.pictures[index]
        return self.pictures[index], 0


GRAY = Image.new("L", (3, 2), 7)


@pytest.mark.parametrize(
    ("attributes", "labels", "classes"),
    [
        ({}, None, None),
        ({"targets": [0, 1]}, [0, 1], ["0", "1"]),
        ({"targets": torch.tensor([1, 0]), "classes": ["a", "b"]}, [1, 0], ["a", "b"]),
        ({"labels": np.array([2, 0], np.uint8)}, [2, 0], ["0", "1", "2"]),
        ({"labels": np.array([-1, -1])}, None, None),
        ({"_samples": [("x", 1), ("y", 0)]}, [1, 0], ["0", "1"]),
        ({"_samples": [("x", None), ("y", None)]}, None, None),
        ({"targets": ["a.xml", "b.xml"]}, None, None),
        ({"targets": [0, 1], "classes": [("crane",), ("crane",)]}, [0, 1], ["crane 0", "crane 1"]),
        ({"targets": [0, 1], "classes": [("tench", "Tinca tinca"), ("hen",)]}, [0, 1], ["tench", "hen"]),
        ({"targets": torch.zeros(2, 40, dtype=torch.long)}, None, None),
    ],
)
def test_labels_of_torchvisions_data_sets(attributes: dict[str, Any], labels: Any, classes: Any) -> None:
    pictures = TorchvisionPictures(Fake([GRAY, GRAY], **attributes), 3, "torchvision:Fake")
    assert (None if pictures.labels is None else pictures.labels.tolist()) == labels
    assert pictures.classes == classes


def test_torchvisions_pictures_are_read_like_files() -> None:
    clear = Image.new("RGBA", (3, 2), (0, 0, 0, 0))
    deep = Image.fromarray(np.full((2, 3), 32768, np.uint16))
    pictures = TorchvisionPictures(Fake([GRAY, clear, deep, OSError("damaged")]), 3, "torchvision:Fake")
    assert [level(pictures, i) for i in range(3)] == [7, 255, 128]
    assert pictures.read(0).shape == (3, 2, 3)
    with pytest.raises(BadPicture, match="damaged"):
        pictures.read(3)


def test_made_up_pictures(no_network: Path) -> None:
    pictures = open_pictures("torchvision:FakeData")
    assert len(pictures) == 1000
    assert pictures.read(0).shape == (3, 224, 224)
    with pytest.raises(UserError, match="has no held-out part"):
        open_pictures("torchvision:FakeData", "val")


def test_what_is_no_picture_is_refused(no_network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "FakeData", type("FakeData", (Fake,), {"__init__": lambda s: Fake.__init__(s, [3])}))
    with pytest.raises(UserError, match="is no data set of pictures"):
        open_pictures("torchvision:FakeData")


def test_where_downloads_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for name in ("SWAV_DATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert data_folder() == Path("/home/me/.cache/swav/data")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert data_folder() == Path("/cache/swav/data")
    monkeypatch.setenv("SWAV_DATA", "/data")
    assert data_folder() == Path("/data")


def test_fingerprints_are_what_runs_have_recorded(tmp_path: Path) -> None:
    """A run goes on only where the fingerprint of its pictures is what it was when the run began."""
    draw(tmp_path, "cat/a.png", "cat-/b.png", "ü/c.png")

    def digest(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    names = ["cat-/b.png", "cat/a.png", "ü/c.png"]
    whole = open_pictures(str(tmp_path))
    assert whole.fingerprint() == digest(PathTable(names).digest())
    few = open_pictures(str(tmp_path), limit=2)
    assert isinstance(few, Limited)
    assert few.fingerprint() == digest(f"{whole.fingerprint()} {few.chosen.tolist()}")
    plain = TorchvisionPictures(Fake([GRAY, GRAY]), 3, "torchvision:Fake")
    assert plain.fingerprint() == digest("torchvision:Fake/0\ntorchvision:Fake/1")

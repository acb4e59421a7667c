"""The same picture under other names and through links, found without a look at each file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from swav_cli.data import same_pictures
from swav_cli.data.pictures import Pictures
from swav_cli.data.same_pictures import places_among
from swav_cli.data.sources import open_pictures
from swav_cli.data.torchvision_pictures import TorchvisionPictures


def draw(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / name)


def test_links_and_other_spellings_are_the_same_pictures(tmp_path: Path) -> None:
    draw(tmp_path / "all", "a/1.png", "a/2.png", "b/1.png")
    few = tmp_path / "few"
    draw(few, "b/own.png")
    (few / "a").symlink_to(tmp_path / "all" / "a")  # a folder
    (few / "b" / "linked.png").symlink_to(tmp_path / "all" / "b" / "1.png")  # a file under another name
    everything, some = open_pictures(str(tmp_path / "all")), open_pictures(f"{few}/../few/")
    for first, second in ((some, everything), (everything, some)):
        names = [second.name(place) if place >= 0 else None for place in places_among(first, second)]
        assert [os.path.realpath(name) if name else None for name in names] == [
            None if name.endswith("own.png") else os.path.realpath(name)
            for name in (first.name(index) for index in range(len(first)))
        ]


def test_places_are_those_of_realpath(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [
        "/at-the-root.png",
        "here.png",
        "a/../here.png",
        "a/./b/x.png",
        "shapes/val/disc/000001",
        f"{tmp_path}/here.png",
    ]
    draw(tmp_path, "here.png", "a/b/x.png")

    class Named(Pictures):
        source, channels = "named", 3

        def __len__(self) -> int:
            return len(names)

        def name(self, index: int) -> str:
            return names[index]

    assert [os.path.join(*place) for place in same_pictures._true_places(Named())] == list(map(os.path.realpath, names))


def test_folders_are_asked_for_and_not_each_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("train", "val"):
        draw(tmp_path / part, *(f"{kind}/{number}.png" for kind in "ab" for number in range(5)))
    train, val = (open_pictures(str(tmp_path / part)) for part in ("train", "val"))
    asked: list[str] = []
    realpath = os.path.realpath
    monkeypatch.setattr(os.path, "realpath", lambda path: asked.append(path) or realpath(path))
    assert (places_among(val, train) == -1).all()
    assert len(asked) <= 6
    assert not any(path.endswith(".png") for path in asked)


def test_parts_of_a_data_set_share_no_pictures() -> None:
    class Fake(list[None]):
        targets = (0, 1)

    parts = [TorchvisionPictures(Fake([None, None]), 3, "torchvision:Fake", part) for part in ("train", "val", "val")]
    assert places_among(parts[0], parts[1]).tolist() == [-1, -1]
    assert places_among(parts[1], parts[2]).tolist() == [0, 1]

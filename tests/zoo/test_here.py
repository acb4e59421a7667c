"""Published weights that are on this machine already."""

from __future__ import annotations

from pathlib import Path

import pytest

from swav_cli.zoo.catalogue import find
from swav_cli.zoo.here import is_here, published_here


def test_those_in_the_cache_and_the_mirror_the_free_ones_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SWAV_MIRROR", "https://mirror.example")
    assert published_here() == []
    models = tmp_path / "cache" / "swav" / "models"
    mirror = tmp_path / "mirror"
    for folder, *names in [(models, "swav-400e", "swav-400e-w2", "swav-200e-mmpretrain-linear"), (mirror, "swav-800e")]:
        folder.mkdir(parents=True)
        for name in names:
            (folder / find(str(name)).file).touch()
    assert [entry.name for entry in published_here()] == ["swav-400e"]  # neither of double width, nor a classifier
    monkeypatch.setenv("SWAV_MIRROR", str(mirror))
    (mirror / find("swav-200e-mmpretrain").file).touch()
    assert [entry.name for entry in published_here()] == ["swav-200e-mmpretrain", "swav-800e", "swav-400e"]
    assert not is_here(find("swav-100e"))

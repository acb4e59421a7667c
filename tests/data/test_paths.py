"""Paths as users write them, and the folder for what can be made again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from swav_cli.data.paths import cache_folder, expanded, kept_at, names_beside
from swav_cli.errors import UserError

WITHOUT_HOME = pytest.mark.skipif(sys.platform == "win32", reason="homes are told in another way there")


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a user of a container whom its system does not know."""
    import pwd

    def unknown(number: int) -> object:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "SWAV_DATA"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("~", "/home/me"), ("~/photos/a.jpg", "/home/me/photos/a.jpg"), ("~nobody-is-called-so.jpg", None),
        ("a/~/b", None), ("./~", None), ("", None), ("/x", None), ("~$sheet.png", None),
    ],
)  # fmt: skip
def test_a_tilde_is_the_home_folder_where_one_is_meant(
    written: str, meant: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded(written) == Path(meant if meant is not None else written)


@WITHOUT_HOME
@pytest.mark.parametrize("home", [None, "~", "relative"])
def test_without_a_home_no_folder_is_meant(no_home: None, home: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if home is not None:
        monkeypatch.setenv("HOME", home)
    for written in ("~", "~/photos"):
        with pytest.raises(UserError, match=f"{written}: there is no home folder"):
            expanded(written)
    assert expanded("photos") == Path("photos")
    assert kept_at("models", "a.pth") is None
    with pytest.raises(UserError, match="set XDG_CACHE_HOME to a folder"):
        cache_folder()


@WITHOUT_HOME
def test_without_a_home_a_cache_may_be_named(no_home: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert kept_at("models", "a.pth") == Path("/cache/swav/models/a.pth")


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path("/home/me/.cache/swav")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert cache_folder() == Path("/cache/swav")
    monkeypatch.setenv("XDG_CACHE_HOME", "~/kept")
    assert cache_folder() == Path("/home/me/kept/swav")


def test_what_lies_beside_a_path(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert names_beside(tmp_path / "b.png") == ["a.png"]
    assert names_beside(tmp_path / "gone" / "b.png") == names_beside(Path("x" * 300, "b.png")) == []
    assert not os.path.exists(Path("x" * 300))

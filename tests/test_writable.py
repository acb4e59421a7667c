from __future__ import annotations

import os
from pathlib import Path

import pytest

from swav_cli.errors import UserError
from swav_cli.writable import check_place


def test_a_file_that_is_protected_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("before")
    access = os.access
    monkeypatch.setattr(os, "access", lambda place, how: place != path and access(place, how))  # the superuser may
    with pytest.raises(UserError, match=r"--out .*csv: is protected against writing"):
        check_place(path, "--out")


def test_places_below_a_file_or_of_the_other_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(UserError, match=r"can't be written below .*file; name another place"):
        check_place(tmp_path / "file" / "below" / "a.csv", "--out")
    with pytest.raises(UserError, match=r"--sort-into .*file: is a file; name a folder"):
        check_place(tmp_path / "file", "--sort-into", is_folder=True)
    check_place(tmp_path / "new" / "a.csv", "--out")
    check_place(tmp_path, "--sort-into", is_folder=True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

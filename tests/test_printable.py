"""A file's name can't act on a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from swav_cli.printable import printable, printable_lines, write_any_character
from tests.conftest import Command, Run


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("photo.png", "photo.png"),
        ("Zürich 雪.png", "Zürich 雪.png"),
        ("a\x1b[2Jb.png", "a\\x1b[2Jb.png"),
        ("title\x1b]0;x\x07.png", "title\\x1b]0;x\\x07.png"),
        ("c1\x9b2J", "c1\\x9b2J"),
        ("two\nlines", "two\\nlines"),
        ("\udcff", "\\udcff"),
    ],
)
def test_printable(name: str, shown: str) -> None:
    assert printable(name) == shown


def test_lines_stay_lines() -> None:
    assert printable_lines("a\x1bb\n  c\td") == "a\\x1bb\n  c\\td"


def test_a_damaged_file_with_a_name_that_would_clear_the_screen(swav: Run, photos: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "\x1b[2J\x1b]0;mine\x07"
    done = swav("pretrain", nowhere, "--dry-run")
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert "\\x1b[2J" in done.stderr


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", b"5 x 5 - Z\\xfcrich \\u96ea \\udcff ..."),
        ("latin-1", b"5 \xd7 5 - Z\xfcrich \\u96ea \\udcff ..."),
        ("utf-8", "5 × 5 – Zürich 雪 \\udcff …".encode()),
    ],
)
def test_a_terminal_shows_other_characters_for_those_it_has_not(encoding: str, shown: bytes) -> None:
    written = io.BytesIO()
    terminal = io.TextIOWrapper(written, encoding)
    write_any_character(terminal)
    print("5 × 5 – Zürich 雪 \udcff …", end="", file=terminal, flush=True)
    assert written.getvalue() == shown


@pytest.mark.parametrize("words", [["models"], ["recipes"], ["recipes", "show", "quickstart"], ["--help"]])
def test_no_screen_needs_unicode(swav_here: Command, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, "ascii"))
    assert swav_here(*words).code == 0
    assert len(written.getvalue()) > 100

"""A file's name can't act on a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from swav_cli.report.printable import printable, printable_lines
from tests.conftest import Run


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

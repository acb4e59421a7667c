"""`swav clusters` as a user types it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Run, tiny_recipe
from tests.test_readme import make_run

COLUMNS = [
    "path",
    "cluster",
    "probability",
    "second",
    "margin",
    "group",
    "outlier",
    "copy_of",
    "similarity",
    "keep",
    "error",
]


@pytest.fixture
def here(tmp_path: Path, photos: Path) -> Path:
    """A run, and a folder with an exact copy, a smaller one, and a file that is no picture."""
    make_run(tmp_path / "runs" / "learnt", tiny_recipe())
    shutil.copy(photos / "plain" / "00.png", photos / "stripes" / "again.png")
    (photos / "plain" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_a_picture_and_the_same_again(swav: Run, here: Path) -> None:
    done = swav("clusters", "photos", "--groups", "2", "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert (results["pictures"], results["unread"], results["computed"]) == (42, 1, 42)
    table = rows(here / "clusters" / "clusters.csv")
    assert list(table[0]) == COLUMNS
    by_path = {row["path"]: row for row in table}
    assert by_path["photos/stripes/again.png"]["copy_of"] == "photos/plain/00.png"
    assert (by_path["photos/stripes/again.png"]["keep"], by_path["photos/plain/00.png"]["keep"]) == ("false", "true")
    assert by_path["photos/plain/broken.png"]["error"]
    assert {row["group"] for row in table} == {"0", "1", ""}
    assert (here / "clusters" / "delete.txt").read_text() == "photos/stripes/again.png\n"

    shutil.copy(here / "photos" / "plain" / "02.png", here / "photos" / "plain" / "new.png")
    again = swav("clusters", "photos", "--groups", "2", "--print", "delete", "-0")
    assert again.stdout == "photos/plain/new.png\0photos/stripes/again.png\0"
    assert "1 picture computed; 42 were known" in again.stderr
    after = {row["path"]: row for row in rows(here / "clusters" / "clusters.csv")}
    assert all(
        (after[path]["cluster"], after[path]["group"]) == (row["cluster"], row["group"])
        for path, row in by_path.items()
    )

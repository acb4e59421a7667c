"""The table of groups on a terminal: names give way where there is too little room, and no number does."""

from __future__ import annotations

from typing import Any

import pytest

from swav_cli.report.clusters_text import describe_clusters


def results(commonest: str | None) -> dict[str, Any]:
    path = "a folder with a long name/and one below it/" + 40 * "x" + ".png"
    group = {"group": 11, "pictures": 12345, "share": 1.0, "commonest": commonest, "purity": 1.0, "typical": [path]}
    return {
        "pictures": 12345, "source": "photos", "model": "runs/mine", "unread": 0, "groups": [group],
        "clusters": {"used": 30, "kind": "prototypes"}, "copies": {"delete": 0, "exact": 0, "sets": 0},
        "outliers": {"count": 0},
    }  # fmt: skip


@pytest.mark.parametrize("commonest", [None, "dogs", "a class whose name is longer than any column can be"])
def test_numbers_are_whole_on_80_columns(commonest: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = describe_clusters(results(commonest)).splitlines()
    at = next(number for number, line in enumerate(lines) if line.split()[:2] == ["group", "pictures"])
    heading, row = lines[at : at + 2]
    for words in ("share", "such as", *(["mostly", "purity"] if commonest else [])):
        assert words in heading
    assert row.split()[:4] == ["11", "12,345", "100.0", "%"]
    assert max(len(heading), len(row)) <= 80
    assert row.count("%") == (2 if commonest else 1)

"""`swav bench` as a user types it."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from swav_cli.tasks.bench import measure
from tests.conftest import Command, Run


def files(folder: Path) -> set[Path]:
    """And not folders: torch makes one of its own."""
    return {path for path in folder.rglob("*") if path.is_file()}


def test_all_is_measured_and_nothing_is_left(
    swav: Run, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "made"
    made.mkdir()
    monkeypatch.setenv("TMPDIR", str(made))
    before = files(tmp_path)
    done = swav("bench", "tiny.yaml", "--device", "cpu", "--minutes", "0.06", "--workers", "1", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    rows = found["rows"]
    assert list(rows) == [
        "reading_core", "reading", "step", "views", "network", "codes", "norms", "update", "first_step", "compiled",
        "end_to_end", "memory", "network_alone", "extract", "product", "copy",
    ]  # fmt: skip
    measured = [key for key, row in rows.items() if "not_measured" not in row]
    assert [key for key in rows if key not in measured] == ["compiled"]  # which takes a minute
    assert "--minutes" in rows["compiled"]["not_measured"]
    assert rows["step"]["pictures_per_second"] > 0
    assert rows["product"]["share"] > 0
    assert found["bound"] in ("reading", "views", "update", "memory", "arithmetic")
    assert found["batch_size"] <= found["recipe_batch_size"] == 8
    assert files(tmp_path) == before


def test_a_table_within_80_columns_of_what_is_wanted(swav: Run, photos: Path) -> None:
    done = swav("bench", "photos", "--device", "cpu", "--minutes", "0.02", "--only", "reading", "--batch-size", "16")
    assert done.returncode == 0, done.stderr
    assert "small-folder: resnet18" in done.stdout
    assert "40 of photos" in done.stdout
    assert "step, eager" not in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_a_part_that_fails_says_why_and_the_others_go_on(
    swav_here: Command, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> float:
        raise RuntimeError("no engine\n  at line 3")

    monkeypatch.setattr(measure, "product_flops", fails)
    said = swav_here("bench", "tiny.yaml", "--device", "cpu", "--minutes", "0.01", "--only", "limits", "--json")
    assert said.code == 0
    rows = json.loads(said.out)["rows"]
    assert rows["product"] == {"not_measured": "no engine"}
    assert rows["copy"]["bytes_per_second"] > 0


def test_wrong_words_are_told_in_a_line(swav_here: Command, tiny_file: Path) -> None:
    for arguments, words in (
        (["quikstart"], "Did you mean 'quickstart'?"),
        (["--data", "nowhere"], "no such folder"),
        (["tiny.yaml", "--only", "steps"], "Did you mean 'step'?"),
        (["tiny.yaml", "--device", "cuda:7"], "not on this machine"),
        (["tiny.yaml", "--batch-size", "64", "--set", "loss.queue.length=0"], "larger than the number of pictures"),
    ):
        said = swav_here("bench", *arguments)
        assert (said.code, said.out) == (2, "")
        assert words in said.err
        assert len(said.err.splitlines()) == 1


def test_ctrl_c_ends_it_and_takes_the_pictures_away(
    swav_here: Command, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*_: object) -> None:
        assert os.listdir(tmp_path / "made")
        raise KeyboardInterrupt

    (tmp_path / "made").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "made"))
    monkeypatch.setattr(measure, "measure_reading", pressed)
    assert swav_here("bench", "tiny.yaml", "--device", "cpu").code == 130
    assert os.listdir(tmp_path / "made") == []

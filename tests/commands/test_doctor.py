"""`swav doctor` as a user types it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Command, Run
from tests.tasks.doctor.test_pictures import draw

SETTINGS = [
    "--epochs", "15", "--set", "loss.freeze_prototypes_steps=0", "--set", "data.val=null", "--data", "pictures",
    "--device", "cpu", "--minutes", "0.1",
]  # fmt: skip


def groups(out: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for check in json.loads(out)["checks"]:
        found.setdefault(check["group"], []).append(check)
    return found


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_healthy_set_is_ok_and_nothing_is_written(swav: Run, tiny_file: Path, tmp_path: Path) -> None:
    draw(tmp_path / "pictures", 128)
    before = files(tmp_path)
    done = swav("doctor", "tiny.yaml", *SETTINGS, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    found = groups(done.stdout)
    assert list(found) == ["installation", "machine", "pictures", "recipe", "run"]
    for group in ("pictures", "recipe", "run"):
        assert [check for check in found[group] if check["state"] != "ok"] == []
    values = {check["name"]: check["values"] for check in found["run"]}
    assert values["training"]["pictures_per_second"] > 0
    assert values["time"]["steps"] == 240
    assert files(tmp_path) == before


def test_a_fault_is_a_problem_and_the_exit_code_tells(swav: Run, tiny_file: Path, tmp_path: Path) -> None:
    (draw(tmp_path / "pictures", 128) / "000.png").write_bytes(b"<html>")
    done = swav("doctor", "tiny.yaml", *SETTINGS, "--set", "data.max_bad=0", "--quick")
    assert done.returncode == 1
    assert "problem readable" in done.stdout
    assert "000.png: a web page" in done.stdout
    assert "no picture" not in done.stderr
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert done.stdout.splitlines()[-1].endswith("1 problem")


def test_a_block_for_a_report_without_a_recipe(swav: Run) -> None:
    done = swav("doctor", "--report")
    assert done.returncode == 0
    assert done.stdout.startswith("### swav doctor\n")
    assert "| **machine** | |" in done.stdout
    assert "**pictures**" not in done.stdout
    assert os.path.expanduser("~/") not in done.stdout


def test_wrong_words_are_told_in_a_line(swav_here: Command, tiny_file: Path) -> None:
    for arguments, words in (
        (["quikstart"], "Did you mean 'quickstart'?"),
        (["--data", "nowhere"], "no such folder"),
        (["--report", "--json"], "exclude each other"),
        (["--epochs", "3"], "need one"),
        (["tiny.yaml", "--device", "cuda:7"], "not on this machine"),
    ):
        said = swav_here("doctor", *arguments)
        assert (said.code, said.out) == (2, "")
        assert words in said.err
        assert len(said.err.splitlines()) == 1


def test_ctrl_c_ends_it(swav_here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("swav_cli.planning.derive.PixelSums.of", pressed)
    assert swav_here("doctor", "quickstart", "--quick").code == 130

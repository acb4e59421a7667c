"""The command line as a whole: help, speed of starting, versions, pipes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Run, environment, swav_command

HELP = [["--help"], ["pretrain", "--help"], ["recipes", "--help"], ["recipes", "show", "--help"], []]


@pytest.mark.parametrize("arguments", HELP)
def test_help_has_a_line_for_everything(swav: Run, arguments: list[str]) -> None:
    told = swav(*arguments)
    assert told.returncode == (0 if arguments else 2)
    text = told.stdout + told.stderr
    assert "Usage" in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_pretrain_help_has_an_example_and_every_option(swav: Run) -> None:
    text = swav("pretrain", "--help").stdout
    assert "swav pretrain photos/" in text
    for option in (
        "--data", "--out", "--set", "--epochs", "--batch-size", "--device", "--workers", "--seed", "--precision",
        "--resume", "--overwrite", "--init-from", "--dry-run", "--preview", "--json",
    ):  # fmt: skip
        assert option in text


def test_nothing_heavy_is_imported_for_help_and_wrong_words() -> None:
    code = "import sys, swav_cli.app; print([m for m in ('torch', 'numpy', 'pydantic', 'PIL') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert told.stdout == "[]\n", told.stderr


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, capture_output=True, env=environment())
    return time.perf_counter() - started


@pytest.mark.parametrize("arguments", [["--help"], ["pretrain", "--help"], ["pretain"]])
def test_help_is_quick(arguments: list[str]) -> None:
    """Under 0.3 s more than an empty Python; the median of interleaved rounds, since machines are noisy."""
    seconds(swav_command(*arguments))
    differences = [seconds(swav_command(*arguments)) - seconds([sys.executable, "-c", "pass"]) for _ in range(5)]
    assert statistics.median(differences) < 0.3


def test_version(swav: Run) -> None:
    assert swav("--version").stdout.startswith("swav 0.")


def test_output_into_head_is_quiet(tmp_path: Path) -> None:
    command = " ".join([*swav_command("recipes", "show", "quickstart"), "|", "head", "-n", "1"])
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path, env=environment())
    assert done.stderr == ""


def test_the_public_names_are_there() -> None:
    import swav_cli

    for name in swav_cli.__all__:
        assert getattr(swav_cli, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'sinkhorm'"):
        _ = swav_cli.sinkhorm  # type: ignore[attr-defined]

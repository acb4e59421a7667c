"""The command line as a whole: help, speed of starting, versions, pipes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Run, environment, swav_command

HELP = [
    ["--help"],
    ["pretrain", "--help"],
    ["recipes", "--help"],
    ["recipes", "show", "--help"],
    ["models", "--help"],
    ["predict", "--help"],
    ["extract", "--help"],
    ["export", "--help"],
    [],
]


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


def processor_seconds(command: list[str]) -> float:
    """What a process costs, whatever else the machine is doing."""
    before = os.times()
    subprocess.run(command, capture_output=True, env=environment())
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


@pytest.mark.parametrize("arguments", [["--help"], ["pretrain", "--help"], ["pretain"]])
def test_help_is_quick(arguments: list[str]) -> None:
    """Under 0.3 s more than an empty Python; the best of some rounds, since machines are noisy."""
    processor_seconds(swav_command(*arguments))
    empty = [sys.executable, "-c", "pass"]
    rounds = [processor_seconds(swav_command(*arguments)) - processor_seconds(empty) for _ in range(5)]
    assert min(rounds) < 0.3


def test_version(swav: Run) -> None:
    assert swav("--version").stdout.startswith("swav 0.")


def test_output_into_head_is_quiet(tmp_path: Path) -> None:
    command = " ".join([*swav_command("recipes", "show", "quickstart"), "|", "head", "-n", "1"])
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path, env=environment())
    assert done.stderr == ""


@pytest.mark.skipif(os.name == "nt", reason="no such shell there")
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ("models >&- 2>&-", 0, ""),
        ("predict - --model none.pth <&-", 2, "swav: standard input: no paths\n"),
        ("recipes > /dev/full", 2, "swav: the output can't be written (No space left on device)\n"),
    ],
)
def test_streams_that_are_closed_or_full(tmp_path: Path, arguments: str, code: int, told: str) -> None:
    if "/dev/full" in arguments and not Path("/dev/full").exists():
        pytest.skip("no such device here")
    command = f"{' '.join(swav_command())} {arguments}"
    done = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment())
    assert (done.returncode, done.stderr) == (code, told)


def test_the_public_names_are_there() -> None:
    import swav_cli

    for name in swav_cli.__all__:
        assert getattr(swav_cli, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'sinkhorm'"):
        _ = swav_cli.sinkhorm  # type: ignore[attr-defined]

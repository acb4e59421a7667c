"""The command line as a whole: help, speed of starting, versions, pipes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import Command, Run
from tests.processes import environment, run, swav_command

HELP = [
    ["--help"],
    ["pretrain", "--help"],
    ["recipes", "--help"],
    ["recipes", "show", "--help"],
    ["models", "--help"],
    ["predict", "--help"],
    ["extract", "--help"],
    ["export", "--help"],
    ["eval", "--help"],
    ["linear-eval", "--help"],
    ["finetune", "--help"],
    ["index", "--help"],
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


def processor_seconds(command: list[str]) -> float:
    """What a process costs, whatever else the machine is doing."""
    before = os.times()
    subprocess.run(command, capture_output=True, env=environment())
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


@pytest.mark.parametrize("arguments", [["--help"], ["pretrain", "--help"], ["pretain"]])
def test_help_is_quick(arguments: list[str]) -> None:
    """Under 0.3 s, the best of some rounds; on a slow or busy machine, in the same measure of what typer imports."""
    processor_seconds(swav_command(*arguments))
    rounds = [processor_seconds(swav_command(*arguments)) for _ in range(3)]
    imports = [sys.executable, "-c", "import typer, yaml, pydantic, rich.console, rich.markdown"]
    assert min(rounds) < max(0.3, 2.5 * min(processor_seconds(imports) for _ in range(3)))


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


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:128] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_a_batch_without_room_is_one_line(
    error: RuntimeError, swav_here: Command, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr("swav_cli.core.model.SwAV.forward", full)
    said = swav_here("pretrain", tiny_file)
    assert said.code == 2
    assert said.err.splitlines()[-1] == (
        "swav: the memory is full; send fewer pictures through the network at a time: swav pretrain does so with "
        "--micro-batch auto (or a number), all else with a smaller --batch-size"
    )
    monkeypatch.setattr("swav_cli.core.model.SwAV.forward", lambda *_: (_ for _ in ()).throw(RuntimeError("ours")))
    with pytest.raises(RuntimeError, match="ours"):
        swav_here("pretrain", tiny_file, "--no-resume")


@pytest.mark.parametrize("arguments", [["recipes"], ["recipes", "--json"], ["--help"]], ids=" ".join)
def test_a_reader_that_goes_away_ends_a_command_as_it_ends_others(
    arguments: list[str], tmp_path: Path, unread: int
) -> None:
    """As `swav recipes | head -1` may find it. Programs are ended by SIGPIPE then, without a word."""
    done = run(*arguments, stdout=unread, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_public_names_are_there() -> None:
    import swav_cli

    for name in swav_cli.__all__:
        assert getattr(swav_cli, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'sinkhorm'"):
        _ = swav_cli.sinkhorm  # type: ignore[attr-defined]


def test_nonsense_in_a_variable_of_tqdm_does_no_harm() -> None:
    code = (
        "from swav_cli.app import drop_nonsense_for_tqdm as drop; drop(); import os, tqdm; print(*sorted(os.environ))"
    )
    nonsense = {"TQDM_MININTERVAL": "often", "TQDM_NCOLS": "", "TQDM_DELAY": "0.5", "TQDM_COLOUR": "green"}
    env = {**environment(), **nonsense}
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert [name for name in said.stdout.split() if name.startswith("TQDM_")] == ["TQDM_COLOUR", "TQDM_DELAY"]

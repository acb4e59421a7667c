"""`swav pretrain` on shards that come over http or from a command, and whose commands it runs."""

from __future__ import annotations

import base64
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from swav_cli.core.swav import Trainer
from swav_cli.data.shards.streams import open_stream
from swav_cli.errors import Interrupted, UserError
from swav_cli.recipe.file import dump_recipe, load_recipe
from swav_cli.run.checkpoint import load_checkpoint
from swav_cli.run.folder import RunFolder
from swav_cli.run.metrics import Step
from swav_cli.run.pictures import training_pictures
from tests.conftest import TINY, Command, Run, tiny_recipe
from tests.data.serving import serve
from tests.data.tars import sample_tar
from tests.processes import start_together
from tests.training import train

SHARDS, EACH = 6, 8
COUNT = SHARDS * EACH
OURS = ("data.train=pipe:cat {0..5}.tar", f"data.stream_pictures={COUNT}", "data.val=null")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number in range(SHARDS):
        sample_tar(tmp_path / f"{number}.tar", EACH, first=EACH * number)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY, sort_keys=False))
    return tmp_path


# --- whole runs ---------------------------------------------------------------------------------------------------


def check_run(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    assert results["epochs"] == 3
    assert results["pictures"] == COUNT
    assert {"recipe.yaml", "model.safetensors", "prototypes.png"} <= {path.name for path in run.iterdir()}
    state = load_checkpoint(RunFolder(run).last)
    assert (state["step"], state["finished_shards"]) == (18, [])


def test_over_http(swav: Run, here: Path) -> None:
    with serve(here) as server:
        server.cuts["3.tar"] = 1
        run = (
            "pretrain", "tiny.yaml", "--data", server.url + "/{0..5}.tar", "--set", f"data.stream_pictures={COUNT}",
            "--set", "data.val=shapes:40", "--set", "data.bank=shapes:40", "--workers", "2", "--out", "run",
        )  # fmt: skip
        done = swav(*run)
        assert done.returncode == 0, done.stderr
        assert f"48 pictures of {server.url}/" in done.stderr
        check_run(here / "run")
        assert set(server.asked) == {f"{number}.tar" for number in range(SHARDS)}
        again = swav(*run)
        assert "is finished" in again.stderr


def test_from_a_command_by_two_processes(here: Path) -> None:
    processes = start_together(
        2, "pretrain", "tiny.yaml", "--data", "pipe:cat {0..5}.tar", "--set", f"data.stream_pictures={COUNT}",
        "--out", "run", "--set", "data.mean=auto", "--set", "data.std=auto", "--device", "cpu", "--workers", "1",
        cwd=here,
    )  # fmt: skip
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "measured on 8 pictures" in said[0]
    check_run(here / "run")


def test_a_run_that_was_stopped_reads_no_finished_shard_again(here: Path) -> None:
    recipe = tiny_recipe(*OURS, "data.shuffle_buffer=2", "data.max_bad=0")

    def until(stop_at: int | None) -> dict[str, Any]:
        pictures = open_stream(recipe.data.train, COUNT, 2)
        trainer = Trainer(recipe, pictures, torch.device("cpu"))
        if RunFolder(here / "run").last.exists():
            trainer.restore(load_checkpoint(RunFolder(here / "run").last))

        def stop(step: Step) -> None:
            if step.number == stop_at:
                os.kill(os.getpid(), signal.SIGUSR1)

        try:
            train(trainer, here / "run", stop)
        except Interrupted:
            assert stop_at is not None
        return trainer.state()

    (here / "run").mkdir()
    stopped = until(stop_at=16)
    assert stopped["step"] == 16
    assert stopped["finished_shards"]
    for shard in stopped["finished_shards"]:
        if shard:  # the first one is looked into when a run begins
            (here / f"{shard}.tar").unlink()
    assert until(stop_at=None)["step"] == 18


# --- commands that were not typed ---------------------------------------------------------------------------------


EVIL = "pipe:touch gone; cat {0..5}.tar"
HIDDEN = {
    "plain": f"'{EVIL}'",
    "escaped": '"p\\u0069pe:touch gone; cat {0..5}.tar"',
    "binary": "!!binary " + base64.b64encode(EVIL.encode()).decode(),
    "alias": f"&it '{EVIL}'",
}


@pytest.mark.parametrize(("place", "way"), [("val", "plain"), ("bank", "plain"), *[("train", way) for way in HIDDEN]])
def test_no_command_is_run_that_a_recipe_file_brings(place: str, way: str, here: Path, swav_here: Command) -> None:
    content = dump_recipe(tiny_recipe(*OURS) if place == "train" else tiny_recipe())
    (here / "sent.yaml").write_text(content.replace(f"  {place}: ", f"  {place}: {HIDDEN[way]}  # ", 1))
    said = swav_here("pretrain", "sent.yaml", "--dry-run")
    assert said.code == 2
    assert said.err.startswith("swav: sent.yaml: holds the command 'pipe:touch gone;"), said.err
    assert said.err.count("\n") == 1
    assert "--data 'pipe:...'" in said.err
    assert not (here / "gone").exists()


@pytest.mark.parametrize("source", ["https://host/{0..5}.tar", "HTTP://host/0.tar", "https://h/';touch gone;'.tar"])
def test_no_address_is_opened_that_a_recipe_file_brings(source: str, here: Path, swav_here: Command) -> None:
    settings = (f'data.train="{source}"', *OURS[1:])
    (here / "sent.yaml").write_text(dump_recipe(tiny_recipe(*settings)))
    said = swav_here("pretrain", "sent.yaml", "--dry-run")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert said.err.startswith(f"swav: sent.yaml: holds the address '{source}', and nothing is fetched"), said.err
    with pytest.raises(UserError, match="holds the address"):
        load_recipe(str(here / "sent.yaml"))
    typed = [f"data.train={source}", *OURS[1:]]
    assert load_recipe(str(here / "sent.yaml"), typed).data.train == source


def test_a_command_that_is_typed_is_run(here: Path, swav_here: Command) -> None:
    (here / "sent.yaml").write_text(dump_recipe(tiny_recipe(*OURS)))
    for typed in (("--data", EVIL), ("--set", f"data.train={EVIL}")):
        said = swav_here("pretrain", "sent.yaml", *typed, "--dry-run")
        assert said.code == 0, said.err
        assert (here / "gone").exists()
        (here / "gone").unlink()
    said = swav_here("pretrain", "sent.yaml", "--data", "shapes:100", "--dry-run")
    assert said.code == 0, said.err


def test_other_commands_do_not_run_what_a_run_names(here: Path, swav_here: Command) -> None:
    run = here / "runs/sent"
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text(dump_recipe(tiny_recipe(f"data.train={EVIL}", *OURS[1:])))
    with pytest.raises(UserError, match="a stream is read in training alone; name pictures on the disk with --data"):
        training_pictures(tiny_recipe(f"data.train={EVIL}", *OURS[1:]))
    with pytest.raises(UserError, match="holds the command"):
        load_recipe(str(run / "recipe.yaml"))
    for command in (
        ("extract", "--model", run), ("eval", run), ("pretrain", run / "recipe.yaml"),
        ("extract", EVIL, "--model", run), ("predict", EVIL, "--model", run),
    ):  # fmt: skip
        assert swav_here(*command).code == 2
    assert not (here / "gone").exists()

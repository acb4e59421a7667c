"""Processes that see different files refuse in one line before anything is trained or written."""

from __future__ import annotations

import json
import re
import shutil
import socket
from pathlib import Path

import pytest
import yaml

from swav_cli.errors import UserError
from swav_cli.parallel import distributed
from swav_cli.parallel.agreement import _who_sees_what, refuse_disagreement
from swav_cli.recipe.schema import Recipe
from swav_cli.run.checkpoint import load_checkpoint
from swav_cli.run.folder import RunFolder
from swav_cli.run.seen import recipe_seen
from swav_cli.tasks.pretrain import pretrain
from tests.conftest import CLASSIFIER, OF_TASK, TINY, tiny_recipe
from tests.processes import start_together

HOST = socket.gethostname()
BLIND = ("--set", "data.val=null", "--set", "loss.queue.length=0")


def test_who_sees_what() -> None:
    values = ["step 12", "none", "none", "step 12", *["none"] * 3]
    assert _who_sees_what(values, ["a", "b", "b", "a", "b", "c", "c"]) == (
        "step 12 (process 0 on a, 3 on a), none (process 1 on b, 2 on b, 4 on b and 2 more)"
    )


def trained(folder: Path, *overrides: str) -> None:
    pretrain(tiny_recipe("data.val=null", "loss.queue.length=0", "training.epochs=1", *overrides), folder, device="cpu")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def on_two_machines(place: Path, *commands: tuple[str, ...]) -> tuple[list[list[str]], list[str]]:
    """What each process ended each command with, and all lines that they said."""
    (place / "commands.json").write_text(json.dumps([[*command, "--device", "cpu"] for command in commands]))
    processes = start_together(2, "commands.json", cwd=place, module="tests.apart")
    ended, said = zip(*(process.communicate(timeout=300) for process in processes), strict=True)
    return [codes.split() for codes in ended], [line for text in said for line in text.splitlines()]


def test_machines_that_share_no_disk(tmp_path: Path, photos: Path) -> None:
    """The first one has a checkpoint, a picture and another model than the second; every command tells which."""
    one, other = tmp_path / "machine-0", tmp_path / "machine-1"
    one.mkdir()
    (one / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    (one / "linear.yaml").write_text(yaml.safe_dump({**CLASSIFIER, **next(iter(OF_TASK.values())), "model": "model"}))
    shutil.move(photos, one / "photos")
    trained(one / "run", "training.epochs=3")
    (one / "run" / "results.json").unlink()  # as if it had been stopped behind the last step
    assert load_checkpoint(RunFolder(one / "run").last)["step"] == 18
    shutil.copytree(one, other, ignore=shutil.ignore_patterns("run", "00.png"))
    trained(one / "model")
    trained(other / "model", "training.seed=1")
    shutil.copytree(one / "model", other / "same")
    shutil.copytree(one / "model", one / "same")
    before = contents(one), contents(other)
    train = ("pretrain", "tiny.yaml", *BLIND)
    linear = ("linear-eval", "same", "--recipe", "linear.yaml", "--data", "photos")
    drawn = ("--data", "shapes:40", "--val", "shapes:8")
    cases = [
        (rf"checkpoint: step 18 on pictures \w+ \(process 0 on {HOST}\), none \(process 1 on {HOST}\); give all",
         (*train, "--out", "run")),
        (r"pictures to train on: 40 pictures, .* \(process 0 .*, 39 pictures", (*train, "--data", "photos")),
        (r"weights to start from: \w+ \(process 0", (*train, "--init-from", "model")),
        (r"model: weights \w+ \(process 0", ("linear-eval", "model", "--recipe", "linear.yaml", *drawn)),
        (r"pictures to train on: 32 pictures", linear),
        (r"pictures to train on: 32 pictures", (*linear, "--cached")),
        (r"model: weights", ("eval", "model", "--data", "shapes:20")),
        (r"pictures to judge by: 40 pictures", ("eval", "same", "--data", "photos", "--bank", "photos")),
        (r"model: \w+ \(process 0", ("extract", "shapes:20", "--model", "model", "--out", "feats.npy")),
        (r"pictures to extract: 40 pictures", ("extract", "photos", "--model", "same", "--out", "feats.npy")),
    ]  # fmt: skip
    ended, said = on_two_machines(tmp_path, *(command for _, command in cases))
    told = [line for line in said if line.startswith("swav: ")]
    assert len(told) == len(cases), said
    for wanted, command in cases:  # said by whichever process came first
        line = next(
            (line for line in told if re.match(f"swav: the processes do not see the same {wanted}", line)), None
        )
        assert line, (command, told)
        told.remove(line)
    assert ended == [["2"] * len(cases)] * 2
    assert (contents(one), contents(other)) == before


def test_values_that_come_out_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` on two kinds of GPU; what files are called and how many workers read them may differ."""
    there = tiny_recipe("training.precision=bf16", "data.train=elsewhere", "training.workers=3")
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "objects_of_all", lambda own: [own, ("far", {**own[1], **in_words(there)})])
    with pytest.raises(UserError) as caught:
        refuse_disagreement(lambda: recipe_seen(tiny_recipe()))
    assert f"the same training.precision: float32 (process 0 on {HOST}), bf16 (process 1 on far); give" in str(
        caught.value
    )
    there = tiny_recipe("data.train=elsewhere", "training.workers=3")
    refuse_disagreement(lambda: recipe_seen(tiny_recipe()))


def in_words(recipe: Recipe) -> dict[str, str]:
    return {key: str(value) for key, value in recipe_seen(recipe).items()}

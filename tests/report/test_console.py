from __future__ import annotations

from pathlib import Path

import pytest
import torch

from swav_cli.core.health import Health
from swav_cli.core.plan import make_plan
from swav_cli.data.sources import ShapePictures
from swav_cli.planning.derive import derive
from swav_cli.recipe.file import load_recipe
from swav_cli.report import console as module
from swav_cli.report.console import (
    Screen,
    describe_results,
    describe_run,
    duration,
    why_the_first_step_is_long,
)
from swav_cli.run.metrics import Step
from tests.conftest import tiny_recipe


def step_of(number: int, steps: int) -> Step:
    return Step(
        number=number, steps=steps, epoch=0, epochs=1, loss=1.0, start_loss=2.0, epoch_loss=None, lr=0.1,
        gradient_norm=1.0, gradient_norms={}, pictures_per_second=10.0, waiting=0.25, seconds=1.0, bad={},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (185, "3 min 05 s"), (3720, "1 h 02 min")]
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_no_accuracy_without_labels() -> None:
    results = {"recipe": "x", "seconds": 1.0, "loss": 2.0, "loss_over_ln_k": 0.5, "bad_pictures": 0}
    plain = describe_results(results, Path("runs/x"), 9)
    assert "k-NN" not in plain
    assert "--model 'runs/a b' --out" in describe_results(results, Path("runs/a b"), 9), "as a shell takes it"
    assert "swav eval" not in plain  # there are no labelled pictures to judge by
    judged = describe_results(results | {"knn": 80.0, "knn_untrained": 30.0, "knn_raw_pixels": 35.0}, Path("runs/x"), 9)
    assert "swav eval runs/x  " in judged
    assert "k-NN   learnt 80.0 %, raw pixels 35.0 %, untrained network 30.0 %" in judged


def test_plain_lines_come_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    console = Screen(speaks=True)
    with console.training(0, 100):
        for step in range(1, 101):
            console.step(step_of(step, 100))
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[0].startswith("step 1/100 epoch 1: loss/ln K 0.500, 10 img/s, wait 25%")
    assert lines[-1].startswith("step 100/100")
    assert lines[-1].endswith(" left")
    assert len(lines) == 2


@pytest.mark.parametrize("is_terminal", [False, True])
def test_the_first_step_is_explained_and_the_time_left_goes_by_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    """36 seconds for the first step, half a second for each other: a minute is left of 120, not an hour."""
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    console = Screen(speaks=True)
    console.is_terminal = is_terminal
    with console.training(3, 123, why_the_first_step_is_long(torch.device("cuda"))):
        assert capsys.readouterr().err == "first step: cuDNN tries its kernels, once; up to a minute\n"
        now += 36
        console.step(step_of(4, 123))
        first = capsys.readouterr().err
        for step in range(5, 44):
            now += 0.5
            console.step(step_of(step, 123))
        if is_terminal:
            assert console._bar is not None
            assert (console._bar.initial, console._bar.n, console._bar.total) == (4, 43, 123)
        else:
            assert first == "step 4/123 epoch 1: loss/ln K 0.500, 10 img/s, wait 25%\n"
            # Said 15 seconds later: 31 steps after the first one, of 119.
            assert capsys.readouterr().err.endswith(
                "step 35/123 epoch 1: loss/ln K 0.500, 10 img/s, wait 25%, 44 s left\n"
            )


@pytest.mark.parametrize(
    ("device", "compiles", "said"), [("cpu", False, None), ("cpu", True, "minutes"), ("cuda", True, "torch.compile")]
)
def test_what_the_first_step_does(device: str, compiles: bool, said: str | None) -> None:
    found = why_the_first_step_is_long(torch.device(device), compiles)
    assert found is None if said is None else said in str(found)


def test_nothing_is_said_of_a_first_step_where_none_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen(speaks=True).training(100, 100, "long"):
        pass
    assert capsys.readouterr().err == ""


def test_one_of_a_kind_is_not_several() -> None:
    recipe = tiny_recipe("training.epochs=1", "loss.queue.length=0", "loss.freeze_prototypes_steps=0")
    said = describe_run(recipe, make_plan(recipe, 8), ShapePictures(8, 0, "train"), torch.device("cpu"))
    assert said.startswith("8 pictures of shapes:8:0, labels not used for training; 1 epoch of 1 step with 8 pictures")
    results = {"seconds": 1.0, "loss": 2.0, "loss_over_ln_k": 0.5, "bad_pictures": 1}
    assert "\n  1 picture could not be read; see" in describe_results(results, Path("runs/x"), 9)


def test_indexing_that_takes_longer_than_a_moment_is_told_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    screen = Screen(speaks=True)
    screen.indexing(100, 100)  # all was there already
    assert capsys.readouterr().err == ""
    for done in range(0, 100, 10):
        screen.indexing(done, 100)
        now += 0.4
    screen.indexing(100, 100)
    assert capsys.readouterr().err == "indexing shards: 30%\nindexed shards in 4 s\n"
    Screen().indexing(0, 100)
    assert capsys.readouterr().err == ""


def test_an_epoch_of_the_quickstart_is_told_beside_what_is_usual(capsys: pytest.CaptureFixture[str]) -> None:
    health = Health(
        used_prototypes=50, perplexity=40.0, spread=0.2, rank=20.0, deviation=0.9, twins=0, code_entropy=0.5,
        prediction_entropy=0.5, agreement=0.5,
    )  # fmt: skip
    step = step_of(390, 390)._replace(epoch_loss=1.3)
    for train, expected in (("shapes:5000", True), ("shapes:48", False)):
        recipe = load_recipe("quickstart", [f"data.train={train}", "training.precision=float32"])
        screen = Screen(speaks=True)
        pictures = ShapePictures(256, 0, "train")
        plan = make_plan(derive(recipe, pictures, torch.device("cpu"))[0], len(pictures))
        screen.opening(recipe, [], plan, pictures, torch.device("cpu"), Path("runs/x"))
        screen.epoch(step, health, None)
        assert ("loss/ln K 0.650 (usually 0.5" in capsys.readouterr().err) is expected

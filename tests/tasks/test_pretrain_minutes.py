"""How long a run takes is told before it begins, and a run is planned to a time, once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from swav_cli.data.sources import open_pictures
from swav_cli.planning.budget import Speed
from swav_cli.recipe.file import dump_recipe, read_recipe
from swav_cli.recipe.schema import Recipe
from swav_cli.tasks import pretrain_minutes
from swav_cli.tasks.pretrain_minutes import Opened, Sample, time_needed
from tests.conftest import Command, Run, tiny_recipe

CPU = torch.device("cpu")


def test_a_run_is_planned_measured_judged_and_goes_on_as_it_was_planned(
    swav: Run, tiny_file: Path, photos: Path, tmp_path: Path
) -> None:
    typed = ("pretrain", tiny_file, "--data", photos, "--minutes", 5, "--set", "loss.queue.length=0")
    done = swav(*typed, "--json")
    assert done.returncode == 0, done.stderr
    assert "training.minutes = 5.0  (as measured here: " in done.stderr
    assert "training.epochs = 15  (as many as end in 5 minutes; 5 times the usual 3 are the most)" in done.stderr
    assert "of pictures found again by another crop, raw pixels" in done.stderr
    assert "\n  so     the features " in done.stderr
    found = json.loads(done.stdout)
    assert {"found_again", "found_again_untrained", "found_again_raw_pixels"} <= found.keys()
    kept = read_recipe(tmp_path / "runs/tiny/recipe.yaml")
    assert isinstance(kept, Recipe)
    assert (kept.training.minutes, kept.training.epochs) == (5, 15)
    again = swav(*typed)
    assert again.returncode == 0
    assert "is finished" in again.stderr
    other = swav(*typed[:5], 6, *typed[6:])
    assert other.returncode == 2
    assert "holds a run that was planned to 5 minutes; go on with it by --minutes 5" in other.stderr


def test_a_plan_is_made_once(swav_here: Command, tiny_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was planned and stopped is not measured again, whatever the machine does by then."""
    rates = iter([1e6])
    monkeypatch.setattr(pretrain_minutes, "measured", lambda *_: Speed(next(rates), 1e-6))
    typed = ("pretrain", tiny_file, "--minutes", "0.5", "--set", "data.val=null")
    monkeypatch.setattr("swav_cli.tasks.pretrain._train", stopped)
    with pytest.raises(Stopped):
        swav_here(*typed)
    planned = Path("runs/tiny/recipe.yaml").read_text()
    with pytest.raises(Stopped):
        swav_here(*typed)
    assert Path("runs/tiny/recipe.yaml").read_text() == planned
    assert swav_here("pretrain", tiny_file, "--set", "data.val=null").code == 2  # another recipe than was planned


class Stopped(BaseException):
    pass


def stopped(*_: object) -> None:
    raise Stopped


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--minutes", "0"], "--minutes 0: write how many minutes the run is to take"),
        (["--minutes", "nan"], "--minutes nan: write how many"),
        (["--set", "training.minutes=5"], "type --minutes N, which plans one"),
        (["--minutes", "1"], "or more"),
    ],
)
def test_wishes_that_can_not_be_met_are_refused_in_a_line(
    swav_here: Command, tiny_file: Path, monkeypatch: pytest.MonkeyPatch, typed: list[str], said: str
) -> None:
    monkeypatch.setattr(pretrain_minutes, "measured", lambda *_: Speed(0.1, 1.0))
    refused = swav_here("pretrain", tiny_file, *typed)
    assert refused.code == 2
    assert said in refused.err
    assert len(refused.err.splitlines()) == 1
    assert not Path("runs").exists()


def test_the_time_of_a_long_run_is_told_with_what_would_shorten_it(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = iter([Speed(0.5, 0.1), Speed(1.0, 0.1, reading=0.6)])
    monkeypatch.setattr(pretrain_minutes, "measured", lambda *_: next(speeds))
    monkeypatch.setattr(pretrain_minutes, "LONG", 1)
    recipe, opened = tiny_recipe("training.epochs=20"), Opened(open_pictures("shapes:48"), None)
    assert time_needed(recipe, opened, CPU, (120, 120)) == (
        "takes about 33 min 06 s: 0.5 pictures/s on this cpu, as measured. Shorter: --minutes N plans a run to a time, "
        "with a smaller network, smaller crops and fewer epochs; --epochs 10 takes half"
    )
    half = time_needed(recipe, opened, CPU, (60, 120))
    assert half is not None
    assert half.startswith("takes about 8 min 50 s")
    assert "60% of the time reading them" in half
    assert "pictures made smaller once" in half
    assert time_needed(recipe, opened, torch.device("cuda"), (120, 120)) is None
    planned = tiny_recipe("training.minutes=5")
    assert time_needed(planned, opened, CPU, (120, 120)) is None


def test_speed_is_that_of_true_steps_and_reading() -> None:
    recipe = tiny_recipe("data.mean=auto")
    pictures = open_pictures("shapes:48")
    found = pretrain_minutes.measured(recipe, Sample(48, pictures, False, 0.0), CPU)
    assert found.rate > 0
    assert 0 < found.reading < 1
    assert found.looking > 0
    assert "mean: auto" in dump_recipe(recipe)

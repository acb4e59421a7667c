from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from swav_cli.errors import UserError
from swav_cli.files import held
from swav_cli.run import state as module
from swav_cli.run.state import RunFollower, glance, runs_below, size_on_disk
from tests.run.made_up import make_up, step_line, text_of
from tests.test_files import POSIX


@pytest.fixture(autouse=True)
def time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 2e9)


def seen(path: Path) -> module.RunState:
    """By both ways to look, which have to agree."""
    state = RunFollower(path).look()
    brief = glance(path)
    assert (brief.state, brief.why, brief.step, brief.best) == (state.state, state.why, state.step, state.best)
    return state


@POSIX
def test_a_run_in_progress(tmp_path: Path) -> None:
    folder = make_up(tmp_path / "run", step=9, changed=4.0)
    with held(folder.lock):
        state = seen(folder.path)
    assert (state.state, state.step, state.steps, state.epochs_done, state.epochs) == ("running", 9, 18, 1, 3)
    assert state.seconds_left == pytest.approx(9 * 10 - 4)
    assert state.checkpoint_age == pytest.approx(4)
    assert (state.verdict, state.advice, state.best, state.go_on) == ("healthy", None, {"knn": 40.0}, None)


@POSIX
@pytest.mark.parametrize(("step", "kind"), [(0, "starting"), (18, "judging")])
def test_before_the_first_step_and_after_the_last(tmp_path: Path, step: int, kind: str) -> None:
    folder = make_up(tmp_path / "run", step=step)
    with held(folder.lock):
        assert seen(folder.path).state == kind


def test_a_run_that_was_killed_is_stopped_and_says_how_it_goes_on(tmp_path: Path) -> None:
    folder = make_up(tmp_path / "a run", step=8)
    with open(folder.metrics, "a") as file:
        file.write(json.dumps(step_line(9))[:50])
    state = seen(folder.path)
    assert (state.state, state.step, state.seconds_left) == ("stopped", 8, None)
    assert state.go_on == f"swav pretrain '{folder.recipe}' --out '{folder.path}'"
    folder.recipe.write_text(folder.recipe.read_text().replace("shapes:48", "pipe:cat a.tar"))
    assert str(seen(folder.path).go_on).endswith(" --data 'pipe:cat a.tar'")


def test_a_finished_run_has_its_best_numbers(tmp_path: Path) -> None:
    results = {"recipe": "tiny", "knn": 50.0, "linear:x": {"top1": 70.0}, "linear:y": {"top1": 75.0}, "eval": {}}
    state = seen(make_up(tmp_path / "run", 18, **results, verdict="flat", advice="codes").path)
    assert (state.state, state.go_on) == ("finished", None)
    assert state.best == {"knn": 60.0, "linear": 75.0}
    assert (state.verdict, state.advice) == ("flat", "codes")
    trained = seen(make_up(tmp_path / "other", 18, eval={"knn": []}).path)
    assert (trained.state, trained.why) == ("stopped", "it is trained, and was not judged to the end")


@pytest.mark.parametrize(("diverged", "kind"), [(True, "diverged"), (False, "failed")])
def test_why_a_run_ended_by_itself(tmp_path: Path, diverged: bool, kind: str) -> None:
    folder = make_up(tmp_path / "run", step=8)
    with open(folder.metrics, "a") as file:
        file.write(text_of([{"kind": "failed", "step": 8, "diverged": diverged, "why": "the loss is nan"}]))
    state = seen(folder.path)
    assert (state.state, state.why, state.go_on is None) == (kind, "the loss is nan", diverged)


@pytest.mark.parametrize(
    ("recipe", "why"),
    [(None, "is not there"), ("a: [", "not valid YAML"), ("- 1", "this is a list"), ("\xff", "UTF-8")],
)
def test_a_broken_run_is_told_of(tmp_path: Path, recipe: str | None, why: str) -> None:
    folder = make_up(tmp_path / "run", step=8)
    folder.recipe.unlink()
    if recipe is not None:
        folder.recipe.write_bytes(recipe.encode("latin-1"))
    state = seen(folder.path)
    assert state.state == "broken"
    assert why in str(state.why)
    assert runs_below(tmp_path) == [folder.path]


def test_a_recipe_with_keys_of_another_version_is_shown(tmp_path: Path) -> None:
    folder = make_up(tmp_path / "run", step=8)
    folder.recipe.write_text(folder.recipe.read_text() + "later: 1\n")
    assert (seen(folder.path).recipe, seen(folder.path).epochs) == ("tiny", 3)


@pytest.mark.parametrize(("changed", "kind"), [(5.0, "running"), (3600.0, "stopped")])
def test_where_locks_cannot_be_seen_its_age_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: float, kind: str
) -> None:
    monkeypatch.setattr(module, "is_held", lambda place: None)
    assert seen(make_up(tmp_path / "run", step=8, changed=changed).path).state == kind


def test_a_log_that_grows_and_one_that_is_begun_anew_are_followed(tmp_path: Path) -> None:
    folder = make_up(tmp_path / "run", step=8)
    follower = RunFollower(folder.path)
    assert follower.look().step == 8
    line = json.dumps(step_line(9))
    for part, step in ((line[:40], 8), (line[40:] + "\n", 9)):
        with open(folder.metrics, "a") as file:
            file.write(part)
        assert follower.look().step == step
    assert len(follower.lines) == 11
    fresh = folder.path / "fresh"
    fresh.write_text(text_of([step_line(4)]))  # as a run leaves its log that goes on from a checkpoint
    os.replace(fresh, folder.metrics)
    assert follower.look().step == 4
    folder.metrics.unlink()
    assert (follower.look().step, follower.lines) == (0, [])


def test_of_a_very_long_log_some_steps_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_STEPS", 100)
    folder = make_up(tmp_path / "run")
    lines = [step_line(number) for number in range(1, 1001)]
    for part in (lines[:700], lines[700:]):
        with open(folder.metrics, "a") as file:
            file.write(text_of(part))
        follower = RunFollower(folder.path)
        follower.look()
    numbers = [line["step"] for line in follower.lines]
    assert len(numbers) <= 101
    assert numbers[0] == 1
    assert numbers[-50:] == list(range(951, 1001))


def test_runs_are_found_wherever_they_lie_and_the_last_changed_comes_first(tmp_path: Path) -> None:
    for name, changed in (("old", 900.0), ("deep/er/new", 10.0), ("middle", 60.0)):
        make_up(tmp_path / name, step=8, changed=changed)
    (tmp_path / "middle" / "circle").symlink_to(tmp_path)
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "recipe.yaml").touch()  # and nothing else of a run
    assert [path.name for path in runs_below(tmp_path)] == ["new", "middle", "old"]
    with pytest.raises(UserError, match="none: is no folder"):
        runs_below(tmp_path / "none")


def test_a_checkpoint_of_two_names_takes_its_place_once(tmp_path: Path) -> None:
    folder = make_up(tmp_path / "run", step=8)
    before = size_on_disk(folder.path)
    assert before >= 5000
    os.link(folder.last, folder.checkpoints / "epoch-0001.pt")
    assert size_on_disk(folder.path) == before

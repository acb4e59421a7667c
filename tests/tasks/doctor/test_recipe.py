"""What contradicts itself, and what is known to go wrong: each is told by the numbers that show it."""

from __future__ import annotations

import pytest

from swav_cli.data.sources import open_pictures
from swav_cli.report.checkup import Check
from swav_cli.tasks.doctor.look import Look, look_at
from swav_cli.tasks.doctor.recipe import check_recipe, fit
from tests.conftest import tiny_recipe
from tests.tasks.doctor.test_machine import CPU
from tests.tasks.doctor.test_pictures import WELL

COUNT = 1000  # pictures, of which a few are looked at


@pytest.fixture(scope="module")
def look() -> Look:
    found = look_at(open_pictures("shapes:12"), 60)
    return Look(COUNT, found.seen, {}, 1.0, 1, found.sums)


def found_by(look: Look, *overrides: str) -> list[Check]:
    return check_recipe(fit(tiny_recipe(*WELL, *overrides), look.total, look, CPU), look, CPU)


def test_a_good_recipe_has_no_risk(look: Look) -> None:
    checks = found_by(look)
    assert [(check.name, check.state) for check in checks] == [("plan", "ok"), ("normalisation", "ok"), ("risks", "ok")]
    assert checks[0].found.startswith("16 epochs of 125 steps with 8 pictures, 12 prototypes")


@pytest.mark.parametrize(
    ("overrides", "name", "state", "words", "remedy"),
    [
        (
            ["model.prototypes=1001", "loss.queue.length=96"],
            "prototypes",
            "problem",
            "1,001 for 1,000",
            "prototypes=100",
        ),
        (["model.prototypes=400"], "prototypes", "warning", "400 for 1,000 pictures", "model.prototypes=100"),
        (["loss.queue.length=0", "model.prototypes=90"], "batch", "warning", "without a queue", "loss.queue.length=88"),
        (["loss.queue.length=520"], "queue", "warning", "520 embeddings of 1,000", "loss.queue.length=248"),
        (["training.batch_size=100", "loss.queue.length=0"], "steps", "warning", "160 steps", "--epochs 20"),
        (["schedule.warmup_epochs=9"], "warm-up", "warning", "more than half", "schedule.warmup_epochs=1"),
        (["loss.freeze_prototypes_steps=5"], "freezing", "warning", "for 5 steps", "freeze_prototypes_steps=0"),
        (["loss.epsilon=0.5"], "epsilon", "warning", "(0.354 with 8 dimensions)", "loss.epsilon=0.12"),
        (["training.precision=bf16"], "precision", "warning", "not good at it", "--precision auto"),
        (["training.workers=900"], "workers", "warning", "(900) is more than", "training.workers=auto"),
        (["crops.0.scale=[0.05, 1.0]"], "crops", "warning", "may show 5% of", "crops.0.scale"),
        (["crops.0.size=64"], "crops.0", "warning", "enlarged 2.4 times", "crops.0.size=24"),
        (["data.mean=[0.9, 0.9, 0.9]"], "normalisation", "warning", "the recipe takes [0.90", "data.mean=auto"),
        (["data.std=[0.05, 0.05, 0.05]"], "normalisation", "warning", "and [0.05", "data.std=auto"),
    ],
)
def test_each_risk_is_told(
    overrides: list[str], name: str, state: str, words: str, remedy: str, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swav_cli.tasks.doctor.recipe.pick_precision", lambda device: ("float32", ""))
    bad = [check for check in found_by(look, *overrides) if check.state != "ok"]
    assert [check.name for check in bad] == [name]
    assert bad[0].state == state
    assert words in bad[0].found
    assert remedy in bad[0].remedy


def test_contradictions_with_the_pictures_are_problems_beside_the_risks(look: Look) -> None:
    checks = found_by(look, "loss.queue.length=1008", "loss.freeze_prototypes_steps=5000", "loss.epsilon=0.5")
    problems = [check.found for check in checks if check.state == "problem"]
    assert [text.split()[0] for text in problems] == ["loss.freeze_prototypes_steps", "loss.queue.length"]
    assert "epsilon" in {check.name for check in checks}


def test_what_cannot_be_settled_is_told_alone(look: Look) -> None:
    checks = found_by(look, "model.prototypes=auto", "training.batch_size=auto", "training.accumulate=1000")
    assert [check.name for check in checks] == ["contradiction"]
    assert "training.accumulate" in checks[0].found


def test_the_shipped_recipes_have_no_risk_on_what_they_are_for() -> None:
    from swav_cli.recipe.file import load_recipe

    small = look_at(open_pictures("shapes:4"), 60)
    for name, count in (("quickstart", 5000), ("cifar10", 50_000)):
        look = Look(count, small.seen, {}, 1.0, 1, small.sums)
        checks = check_recipe(fit(load_recipe(name, ["training.precision=float32"]), count, look, CPU), look, CPU)
        assert {check.state for check in checks} == {"ok"}, name

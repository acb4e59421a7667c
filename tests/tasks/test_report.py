"""What `swav report` says of runs in each state, and where it writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("bokeh")

from swav_cli.core.verdict import Kind
from swav_cli.data.folders.own_results import is_page
from swav_cli.errors import UserError
from swav_cli.recipe.classifier_schema import LinearRecipe
from swav_cli.recipe.file import dump_recipe
from swav_cli.recipe.schema import Recipe
from swav_cli.report.pages.headline import TITLES
from swav_cli.tasks.report import write_report
from tests.conftest import classifier_recipe, tiny_recipe
from tests.report.pages.test_page import Elements, check_page

HEALTH = {
    "used_prototypes": 11, "perplexity": 9.5, "spread": 0.2, "rank": 6.5, "deviation": 0.9, "twins": 0,
    "code_entropy": 0.4, "prediction_entropy": 0.6, "agreement": 0.5, "stability": None,
}  # fmt: skip
START = {
    "kind": "start", "step": 0, "time": "2026-01-02T03:04:05+00:00", "pictures": 48,
    "environment": {"torch": "2.99", "device": "cpu: a processor"},
    "derived": {"model.prototypes": {"value": 12, "reason": "one for each of four pictures"}},
}  # fmt: skip
RESULTS = {
    "recipe": "tiny", "knn": 61.5, "knn_untrained": 20.25, "knn_raw_pixels": 33.0, "seconds": 75.0, "pictures": 48,
}  # fmt: skip


def make_run(folder: Path, recipe: Any, lines: list[dict[str, Any]], results: dict[str, Any] | None = None) -> str:
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(dump_recipe(recipe))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if results is not None:
        (folder / "results.json").write_text(json.dumps(results))
    return str(folder)


def test_every_verdict_has_a_title() -> None:
    assert {*get_args(Kind)} == {*TITLES}


def of_epochs(*verdicts: str, advice: str = "") -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [START]
    for epoch, verdict in enumerate(verdicts):
        step = {"epoch": epoch, "step": 6 * (epoch + 1)}
        measured = {"loss": 2.0, "loss_over_ln_k": 0.8 - epoch / 10, "lr": 0.1, "gradient_norm": 1.0}
        lines.append({"kind": "step", **step, **measured, "images_per_second": 100.0, "data_wait": 0.25})
        trouble = verdict not in ("healthy", "warming up")
        told = {"verdict": verdict, "advice": advice if trouble else "", "loss_over_ln_k": 0.8 - epoch / 10}
        lines.append({"kind": "epoch", **step, **HEALTH, **told})
    return lines


def words_of(page: Path) -> str:
    return " ".join(" ".join(check_page(page.read_text(encoding="utf-8")).words).split())


def test_all_of_a_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path / "runs/tiny", tiny_recipe(), of_epochs("warming up", "healthy", "healthy"), RESULTS)
    linear = {
        "recipe": "tiny",
        "task": "linear",
        "top1": 70.0,
        "top5": 99.0,
        "protocol": "by a layer",
        "judged_by": "x",
    }
    make_run(tmp_path / "runs/probe", classifier_recipe(LinearRecipe), [], linear)
    found = write_report([run])
    assert found.report == tmp_path / "runs/tiny/report.html"
    assert found.bytes == found.report.stat().st_size < 3e6
    assert found.runs == {"tiny": "healthy"}
    told = words_of(found.report)
    for words in (
        "It is learning.", "0.600 of ln K", "11 of 12 prototypes are in use", "finished in 1 min 15 s", "61.5 %",
        "untrained 20.2, raw pixels 33.0", "k-NN top-1 %, k = 20, T = 0.07 61.50 20.25 33.00",
        "waiting for pictures 25%",
        "probe (linear, labels: all) 70.00 99.00", "probe: judged by x; by a layer",
        "model.prototypes 12 one for each of four pictures", "cpu: a processor", "begun on 2026-01-02 03:04:05 UTC",
        "2 crops of 16 pixels that show 40% to 100% of its area", "Effective rank", "Learning rate",
    ):  # fmt: skip
        assert words in told, words
    images = [
        value for tag, name, value in Elements(found.report.read_text()).attributes if (tag, name) == ("img", "src")
    ]
    assert len(images) == 16, "a strip of crops for each picture"
    assert is_page(str(found.report)), "and is made anew the next time"


def test_trouble_and_an_end_before_the_end_are_told(tmp_path: Path) -> None:
    advice = "the loss sits at ln K; try --set loss.epsilon=0.08"
    run = make_run(tmp_path / "a", tiny_recipe("data.train=gone/"), of_epochs("warming up", "flat", advice=advice))
    told = words_of(write_report([run], tmp_path / "here.html").report)
    for words in (
        "In trouble: codes have gone flat.", "The loss sits at ln K; try --set loss.epsilon=0.08.",
        "stopped after 2 of 3 epochs", "Its pictures can't be looked at any more: ", "gone",
    ):  # fmt: skip
        assert words in told, words
    recovered = of_epochs("flat", "healthy", advice=advice)
    run = make_run(
        tmp_path / "b",
        tiny_recipe("data.train=gone/"),
        [*recovered, {"kind": "failed", "step": 13, "why": "the disk is full"}],
    )
    told = words_of(write_report([run]).report)
    assert "After epoch 1 it was told: the loss sits at ln K" in told
    assert "ended by itself after 2 of 3 epochs: the disk is full" in told
    run = make_run(tmp_path / "c", tiny_recipe("data.train=gone/"), [])
    assert "No epoch has ended yet." in words_of(write_report([run]).report)


def test_what_another_version_wrote_is_passed_over(tmp_path: Path) -> None:
    lines = [*of_epochs("healthy"), {"kind": "epoch", "loss": 1.0}, {"kind": "step", "lr": 0.5}, {"step": 7}]
    results = {**RESULTS, "eval": {"learnt": {}}, "svm": {"score": "?"}, "linear:x": {"top1": "high"}, "seconds": "?"}
    told = words_of(write_report([make_run(tmp_path / "a", tiny_recipe(), lines, results)]).report)
    assert "61.5 %" in told
    assert "By swav eval" not in told
    assert "Classifiers trained on it" not in told


def test_several_runs_stand_side_by_side(tmp_path: Path) -> None:
    other = tiny_recipe("loss.epsilon=0.25", "data.train=shapes:64")
    one = make_run(tmp_path / "runs/one", tiny_recipe(), of_epochs("healthy"), RESULTS)
    two = make_run(tmp_path / "runs/two", other, of_epochs("healthy", "healthy"), {**RESULTS, "knn": 44.0})
    found = write_report([one, two, f"{one}/"])
    assert found.report == tmp_path / "runs/report.html"
    assert list(found.runs) == ["one", "two"]
    told = words_of(found.report)
    differs = told[told.index("What differs") : told.index("What was derived")]
    assert "loss.epsilon 0.05 0.25" in differs
    assert "training.batch_size" not in differs
    assert "k-NN top-1 %, k = 20, T = 0.07 61.50 44.00" in told
    elsewhere = make_run(tmp_path / "elsewhere/one", tiny_recipe(), [])
    with pytest.raises(UserError, match="say with --out where"):
        write_report([one, elsewhere])
    with pytest.raises(UserError, match=r"no such run\. Did you mean 'two'\?"):
        write_report([one, str(tmp_path / "runs/twoo")])


def test_a_classifiers_run_is_told(tmp_path: Path) -> None:
    results = {
        "recipe": "tiny", "task": "linear", "top1": 71.25, "top5": 98.0, "mean_class_accuracy": 70.0, "count": 40,
        "majority_class": 50.0, "best": {"epoch": 1, "top1": 73.0}, "layers": {}, "protocol": "by a layer",
        "per_class": {"<b>": 60.0, "cat": 80.0, "none": None}, "judged_by": "photos/val", "pictures": 40,
    }  # fmt: skip
    epochs = [{"kind": "epoch", "epoch": 0, "step": 5, "loss": 1.5, "top1": 71.25, "top5": 98.0}]
    run = make_run(tmp_path / "probe", classifier_recipe(LinearRecipe), epochs, results)
    (tmp_path / "probe/confusion.csv").write_text("true class,<b>,cat\n<b>,3,2\ncat,1,4\n")
    found = write_report([run])
    assert found.runs == {"probe": None}
    told = words_of(found.report)
    for words in (
        "top-1 71.25 %", "Weakest classes", "<b> 60.0", "by a layer", "Accuracy on the held-out",
        "Which classes are taken",
    ):  # fmt: skip
        assert words in told, words
    assert "verdict" not in told


def test_nothing_that_is_there_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="there is no run in runs/; name one, or train one"):
        write_report()
    run = make_run(tmp_path / "runs/a", tiny_recipe(), [])
    (tmp_path / "runs/a/report.html").write_text("my notes")
    with pytest.raises(UserError, match="no page that swav has made"):
        write_report([run])
    assert (tmp_path / "runs/a/report.html").read_text() == "my notes"
    assert write_report(overwrite=True).report == Path("runs/a/report.html")
    assert isinstance(tiny_recipe(), Recipe)
    with pytest.raises(UserError, match="no such run, file or published model"):
        write_report(["nothing"])

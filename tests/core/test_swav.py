from __future__ import annotations

import json
import math
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from swav_cli.core import keeper
from swav_cli.core.plan import Plan, make_plan
from swav_cli.core.swav import Trainer, statistics_left_alone
from swav_cli.data.reading.loader import Batch, Crops, epoch_order
from swav_cli.data.sources import open_pictures
from swav_cli.errors import Diverged, Interrupted, UserError
from swav_cli.recipe.file import parse_recipe
from swav_cli.recipe.schema import Recipe
from swav_cli.run.checkpoint import newest_checkpoint
from swav_cli.run.folder import RunFolder
from swav_cli.run.metrics import Step, read_metrics
from tests.conftest import drawn, formula_weights, reference, tiny_recipe
from tests.training import train

CPU = torch.device("cpu")


def trainer_of(recipe: Recipe) -> Trainer:
    pictures = open_pictures(recipe.data.train)
    return Trainer(recipe, pictures, CPU)


def test_the_whole_trajectory_of_the_published_code() -> None:
    """Five steps of a ResNet-50 in float64: crops of two sizes, LARC, frozen prototypes, all as published."""
    numbers = reference("trajectory_open")
    config = json.loads(str(numbers["config"]))
    crops = [
        {"count": count, "size": size, "scale": [0.5, 1.0], "assign": position == 0}
        for position, (size, count) in enumerate(zip(config["sizes"], config["counts"], strict=True))
    ]
    recipe = parse_recipe(
        {
            "name": "trajectory",
            "model": {
                "backbone": "resnet50",
                "hidden_dim": config["hidden_mlp"],
                "embedding_dim": config["output_dim"],
                "prototypes": config["nmb_prototypes"],
            },
            "data": {"train": "shapes:30"},
            "crops": crops,
            "loss": {"freeze_prototypes_steps": config["freeze"]},
            "optimizer": {"name": "lars", "lr": 1.0, "weight_decay": config["wd"]},
            "training": {"epochs": 1, "batch_size": config["batch"], "precision": "float64"},
        },
        "trajectory",
    )
    trainer = trainer_of(recipe)
    formula_weights(trainer.model)
    trainer.model.train()
    rates = numbers["lrs"]

    class GivenRates(Plan):
        def lr(self, step: int) -> float:
            return float(rates[step])

    trainer.plan = GivenRates(*trainer.plan)
    sizes = [size for size, count in zip(config["sizes"], config["counts"], strict=True) for _ in range(count)]
    for step, expected in enumerate(numbers["losses"]):
        crops = [
            torch.tensor(drawn(f"openx{step}v{view}", (config["batch"], 3, size, size)))
            for view, size in enumerate(sizes)
        ]
        views = [torch.cat([crop for crop in crops if crop.shape[-1] == size]) for size in config["sizes"]]
        trainer.views = lambda batch, views=views: views  # type: ignore[method-assign,misc]
        loss, _ = trainer.train_step([Batch([], torch.empty(0), torch.empty(0), [])])
        assert loss == pytest.approx(expected, rel=1e-6)
    state = trainer.model.state_dict()
    for name, ours in (("prototypes", "prototypes.weight"), ("conv1", "conv1.weight"), ("bn_mean", "bn1.running_mean")):
        np.testing.assert_allclose(state[ours], numbers[name], rtol=1e-6, atol=1e-10)


def test_the_plan_scales_rates_with_the_batch() -> None:
    plan = make_plan(tiny_recipe("schedule.warmup_lr=0.2", "schedule.final_lr=0.1"), 48)
    assert (plan.steps_per_epoch, plan.steps, plan.warmup_steps, plan.queue_from) == (6, 18, 6, 6)
    assert plan.peak_lr == pytest.approx(0.8 * 8 / 256)
    assert plan.lr(0) == pytest.approx(0.2 * 8 / 256)
    assert plan.lr(6) == pytest.approx(plan.peak_lr)
    assert plan.lr(17) > plan.final_lr


def test_training_lowers_the_loss_and_reports_each_step(tmp_path: Path) -> None:
    trainer = trainer_of(tiny_recipe("training.epochs=8", "data.train=shapes:160", "loss.epsilon=0.03"))
    seen = train(trainer, tmp_path)
    assert [step.number for step in seen] == list(range(1, 161))
    early, late = (np.mean([p.loss for p in part]) for part in (seen[:20], seen[-20:]))
    assert late < early
    # A collapse lowers the loss as well: all pictures near one prototype, or a loss of next to nothing.
    assert late > 0.3 * math.log(12)
    assert read_metrics(tmp_path / "metrics.jsonl")[-1]["perplexity"] > 2
    assert seen[0].share == pytest.approx(seen[0].loss / math.log(12))


def test_the_gradient_of_each_part_is_told_apart_and_together_they_are_the_whole(tmp_path: Path) -> None:
    trainer = trainer_of(tiny_recipe("training.epochs=1", "loss.queue.length=0"))
    steps = train(trainer, tmp_path)
    assert steps[0].gradient_norms["prototypes"] == 0  # frozen
    for step in steps:
        assert step.gradient_norms.keys() == {"backbone", "head", "prototypes"}
        assert math.hypot(*step.gradient_norms.values()) == pytest.approx(step.gradient_norm, rel=1e-5)
    assert all(norm > 0 for norm in steps[-1].gradient_norms.values())
    line = read_metrics(tmp_path / "metrics.jsonl")[-2]
    assert line["gradient_norm_head"] == steps[-1].gradient_norms["head"]


def test_prototypes_stay_as_they_are_while_frozen_and_on_the_sphere_after(tmp_path: Path) -> None:
    trainer = trainer_of(tiny_recipe())
    trainer.model.normalize_prototypes()
    start = trainer.model.prototypes.weight.detach().clone()
    weights = []
    train(trainer, tmp_path, lambda _: weights.append(trainer.model.prototypes.weight.detach().clone()))
    torch.testing.assert_close(weights[0], start)
    torch.testing.assert_close(weights[1], start)
    assert not torch.allclose(weights[2], start, atol=1e-7)


def same_state(first: Any, second: Any) -> bool:
    """Bit for bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same_state(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same_state, first, second))
    return bool(first == second)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop_at", [3, 9, 12])
def test_a_stopped_run_goes_on_as_if_it_never_was(tmp_path: Path, stop_at: int, workers: int) -> None:
    """Stopped while prototypes are frozen, in the middle of an epoch with the queue filling, and at an epoch's end."""
    recipe = tiny_recipe("optimizer.name=lars", "data.train=shapes:52", "loss.queue.start_epoch=1")
    undisturbed = trainer_of(recipe)
    train(undisturbed, tmp_path / "a")

    stopped = trainer_of(recipe)

    def interrupt(step: Step) -> None:
        if step.number == stop_at:
            signal.raise_signal(signal.SIGTERM)

    folder = RunFolder(tmp_path / "b")
    with pytest.raises(Interrupted, match=f"step {stop_at} of 18") as caught:
        train(stopped, folder.path, interrupt, workers)
    assert caught.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    state = newest_checkpoint(folder, print)
    assert state is not None
    restarted = trainer_of(recipe)
    restarted.restore(state)
    assert restarted.course.step == stop_at
    train(restarted, folder.path, workers=workers)

    assert restarted.queue is not None
    assert restarted.queue.is_full
    ours, theirs = restarted.state(), undisturbed.state()
    for state in (ours, theirs):
        del state["seconds"]
    assert same_state(ours, theirs)
    lines_of = [read_metrics(tmp_path / name / "metrics.jsonl") for name in ("a", "b")]
    first, second = ([(line["kind"], line["step"], line.get("loss")) for line in lines] for lines in lines_of)
    assert first == second


def test_lines_past_the_checkpoint_are_not_written_twice(tmp_path: Path) -> None:
    recipe = tiny_recipe()
    first = trainer_of(recipe)
    train(first, tmp_path)
    state = torch.load(tmp_path / "checkpoints" / "previous.pt", weights_only=True)
    assert state["step"] == 12
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"kind": "step", "step": 1')  # a line that a kill cut short
    again = trainer_of(recipe)
    again.restore(state)
    train(again, tmp_path)
    steps = [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl") if line["kind"] == "step"]
    assert steps == list(range(1, 19))


def gradients_of(trainer: Trainer, parts: list[Batch]) -> float:
    """The loss of a step that leaves its gradients behind and the weights as they are."""
    trainer.optimizer.step = lambda: None  # type: ignore[method-assign,assignment]
    return trainer.train_step(parts)[0]


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_parts_give_codes_of_the_whole_batch(parts: int) -> None:
    """Without batch statistics, parts and the whole batch give the same loss and gradients."""
    whole, accumulated = (
        trainer_of(
            tiny_recipe(f"training.accumulate={n}", "training.precision=float64", "loss.freeze_prototypes_steps=0")
        )
        for n in (1, parts)
    )
    order = epoch_order(48, 0, 0)[:8]
    for trainer in (whole, accumulated):
        trainer.model.eval()
    crops = Crops(whole.pictures, whole.multicrop)
    batch = crops.__getitems__([(0, int(i)) for i in order])
    pieces = [crops.__getitems__([(0, int(i)) for i in piece]) for piece in np.split(order, parts)]
    losses = [gradients_of(whole, [batch]), gradients_of(accumulated, pieces)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)  # they are told in float32
    for ours, theirs in zip(accumulated.model.parameters(), whole.model.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)


def test_running_statistics_are_updated_once_a_part() -> None:
    trainer = trainer_of(tiny_recipe("training.accumulate=2"))
    trainer.model.train()
    crops = Crops(trainer.pictures, trainer.multicrop)
    parts = [crops.__getitems__([(0, i) for i in piece]) for piece in ((0, 1, 2, 3), (4, 5, 6, 7))]
    before = int(trainer.model.projection_head[1].num_batches_tracked)
    trainer.train_step(parts)
    assert int(trainer.model.projection_head[1].num_batches_tracked) == before + 2


def test_statistics_left_alone() -> None:
    norm = torch.nn.BatchNorm1d(3)
    model = torch.nn.Sequential(norm)
    x = torch.randn(8, 3) + 5
    with statistics_left_alone(model):
        inside = model(x)
    assert not norm.running_mean.any()
    torch.testing.assert_close(inside, model(x))
    assert norm.running_mean.all()


@pytest.mark.parametrize("parts", [1, 2])
def test_blocks_computed_anew_change_nothing(tmp_path: Path, parts: int) -> None:
    """Losses and all that a checkpoint holds are those of a run that keeps everything, bit for bit."""
    more = ("training.epochs=2", f"training.accumulate={parts}")
    kept, anew = (trainer_of(tiny_recipe(f"training.checkpoint_activations={on}", *more)) for on in ("false", "true"))
    calls: list[bool] = []
    anew.model.layer3[1].register_forward_pre_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    first, second = (train(trainer, tmp_path / str(number)) for number, trainer in enumerate((kept, anew)))
    assert [step.loss for step in first] == [step.loss for step in second]
    ours, theirs = anew.state(), kept.state()
    for state in (ours, theirs):
        del state["seconds"]
    assert same_state(ours, theirs)
    # Of each size once forward and once on the way back, and without gradients where codes come from several parts.
    assert calls.count(True) == 12 * parts * 2 * 2
    assert calls.count(False) >= (0 if parts == 1 else 12 * parts * 2)


def test_a_loss_that_is_not_finite_stops_the_run_before_it_does_harm(tmp_path: Path) -> None:
    trainer = trainer_of(tiny_recipe())
    good = {}

    def poison(step: Step) -> None:
        if step.number == 8:
            good.update({key: value.clone() for key, value in trainer.model.state_dict().items()})
            trainer.mean[:] = float("nan")

    with pytest.raises(
        Diverged, match=r"step 8: the loss is nan.*learning rate 0\.0.*largest score.*shapes/train/"
    ) as caught:
        train(trainer, tmp_path, poison)
    assert caught.value.exit_code == 3
    after = trainer.model.state_dict()
    # Prototypes are brought to unit length before each step, which changes nothing that a step has not changed.
    torch.testing.assert_close(after.pop("prototypes.weight"), F.normalize(good.pop("prototypes.weight")))
    for key in (name for name, _ in trainer.model.named_parameters() if name in good):
        assert torch.equal(after[key], good[key]), key
    state = newest_checkpoint(RunFolder(tmp_path), print)
    assert state is not None
    assert state["step"] == 6
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_too_many_bad_pictures_stop_the_run_with_the_list(tmp_path: Path, photos: Path) -> None:
    for number in range(4):
        (photos / "plain" / f"broken-{number}.jpg").write_bytes(b"\xff\xd8 nothing")
    recipe = tiny_recipe(f"data.train={photos}", "data.val=null", "loss.queue.length=0", "data.max_bad=0.05")
    with pytest.raises(
        UserError, match=r"[34] of 44 pictures can't be read, more than data.max_bad \(0.05\)"
    ) as caught:
        train(trainer_of(recipe), tmp_path)
    assert "broken-" in str(caught.value)
    assert "broken-" in (tmp_path / "bad-pictures.txt").read_text()


def test_a_few_bad_pictures_are_replaced_and_counted(tmp_path: Path, photos: Path) -> None:
    (photos / "plain" / "broken.jpg").write_bytes(b"\xff\xd8 nothing")
    trainer = trainer_of(tiny_recipe(f"data.train={photos}", "loss.queue.length=0", "data.max_bad=0.01"))
    train(trainer, tmp_path)
    assert len(trainer.course.bad) == 1  # of 41: a hundredth of these, as whole ones
    assert (tmp_path / "bad-pictures.txt").read_text().count("\n") == 1


@pytest.mark.parametrize("optimizer", ["lars", "sgd", "adamw"])
def test_every_optimizer_trains(tmp_path: Path, optimizer: str) -> None:
    trainer = trainer_of(tiny_recipe(f"optimizer.name={optimizer}", "optimizer.lr=0.01", "training.epochs=2"))
    assert math.isfinite(train(trainer, tmp_path)[-1].loss)


def test_bf16_trains_and_keeps_weights_in_full_precision(tmp_path: Path) -> None:
    trainer = trainer_of(tiny_recipe("training.precision=bf16", "training.epochs=2"))
    assert math.isfinite(train(trainer, tmp_path)[-1].loss)
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())


def test_checkpoints_are_kept_for_good_where_the_recipe_asks(tmp_path: Path) -> None:
    train(trainer_of(tiny_recipe("checkpoint.keep_epochs=2", "training.epochs=5")), tmp_path)
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"last.pt", "previous.pt", "epoch-0002.pt", "epoch-0004.pt"}
    assert torch.load(tmp_path / "checkpoints" / "epoch-0002.pt", weights_only=True)["step"] == 12


def test_checkpoints_between_epochs_come_with_the_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = []
    trainer = trainer_of(tiny_recipe("checkpoint.every_minutes=0.00001", "training.epochs=2"))
    monkeypatch.setattr(keeper, "save_checkpoint", lambda folder, state, kept: saved.append(state["step"]))
    train(trainer, tmp_path)
    assert saved == list(range(1, 13))

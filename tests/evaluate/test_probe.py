"""A grid of linear probes against each pair trained alone by torch, and against scikit-learn's optimum."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swav_cli.core.optimizer import learning_rate
from swav_cli.data.reading.loader import epoch_order
from swav_cli.errors import Diverged, UserError
from swav_cli.evaluate import probe as module
from swav_cli.evaluate.probe import (
    LabelledFeatures,
    Probe,
    ProbeSettings,
    Scaling,
    Tried,
    fold,
    readable,
    scaling_of,
    split,
    train_pairs,
    train_probe,
)
from swav_cli.recipe.classifier_schema import CachedRecipe

CPU = torch.device("cpu")
SETTINGS = ProbeSettings(
    CachedRecipe(lrs=[1.0, 10.0, 30.0], weight_decays=[1e-3, 1e-2], epochs=4, batch_size=32, holdout=0.2),
    momentum=0.9, seed=3,
)  # fmt: skip


def changed(settings: ProbeSettings = SETTINGS, **values: Any) -> ProbeSettings:
    """The same settings but for values of the recipe's `cached`."""
    return settings._replace(cached=settings.cached.model_copy(update=values))


def problem(count: int, width: int = 12, classes: int = 4, seed: int = 0, noise: float = 2.0) -> tuple[Tensor, Tensor]:
    """Overlapping classes, and features of very different sizes, far from 0 and related to each other."""
    centers = torch.randn(classes, width, dtype=torch.float64, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    spread = noise * torch.randn(count, width, dtype=torch.float64, generator=generator)
    features = (centers[labels] + spread).cumsum(dim=1)
    return features * torch.logspace(-2, 2, width) + torch.linspace(-50, 50, width), labels


def samples_of(features: Tensor, labels: Tensor) -> LabelledFeatures:
    return LabelledFeatures(features, labels, int(labels.max()) + 1, CPU)


def nothing() -> None:
    pass


def standardised(features: Tensor, of: Tensor) -> Tensor:
    """The obvious form, with the statistics of other rows."""
    return (features - of.mean(dim=0)) / (of.std(dim=0, correction=0) * of.shape[1] ** 0.5)


def trained_alone(features: Tensor, labels: Tensor, lr: float, decay: float, settings: ProbeSettings) -> nn.Linear:
    """One pair by torch's own layer, gradient and optimiser."""
    layer = nn.Linear(features.shape[1], int(labels.max()) + 1, dtype=features.dtype)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    size = min(settings.cached.batch_size, len(labels))
    peak, per_epoch = lr * size / 256, len(labels) // size
    optimizer = torch.optim.SGD(layer.parameters(), peak, settings.momentum, weight_decay=decay)
    for step in range(settings.cached.epochs * per_epoch):
        order = epoch_order(len(labels), settings.seed, step // per_epoch)
        rows = order[step % per_epoch * size :][:size]
        optimizer.param_groups[0]["lr"] = learning_rate(step, settings.cached.epochs * per_epoch, 0, peak, 0.0, 0.0)
        optimizer.zero_grad()
        F.cross_entropy(layer(features[rows]), labels[rows]).backward()
        optimizer.step()
    return layer


# --- training ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [300, 20])  # 20: fewer than a batch
def test_each_pair_is_trained_as_if_alone(count: int) -> None:
    features, labels = problem(count)
    samples, every = samples_of(features, labels), np.arange(count)
    pairs = list(itertools.product(SETTINGS.cached.lrs, SETTINGS.cached.weight_decays))
    together = train_pairs(samples, every, scaling_of(samples, every), pairs, SETTINGS, nothing)
    for position, (lr, decay) in enumerate(pairs):
        layer = trained_alone(standardised(features, features), labels, lr, decay, SETTINGS)
        expected = torch.cat([layer.weight.T, layer.bias[None]])
        assert expected.abs().max() > 0.01
        torch.testing.assert_close(together[..., position], expected.detach(), rtol=0, atol=1e-10)


def test_the_optimum_is_scikit_learns() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    (features, labels), (others, answers) = problem(3000, 24, 6), problem(5000, 24, 6, seed=1)
    decay = 1e-4
    settings = changed(lrs=[30.0], weight_decays=[decay], epochs=40, batch_size=256)
    probe = train_probe(features, labels, 6, settings, CPU)
    z, z_others = standardised(features, features), standardised(others, features)
    theirs = linear_model.LogisticRegression(C=1 / (decay * len(z)), tol=1e-8, max_iter=5000).fit(z, labels)
    ours = 100 * float((others @ probe.weight.T + probe.bias).argmax(dim=1).eq(answers).double().mean())
    best = 100 * theirs.score(z_others, answers)
    assert 60 < best < 97
    assert ours == pytest.approx(best, abs=0.3)
    losses = [
        float(F.cross_entropy(logits, labels)) + decay / 2 * float(weight.square().sum())
        for logits, weight in [
            (features @ probe.weight.T + probe.bias, probe.weight * features.std(dim=0, correction=0) * 24**0.5),
            (torch.from_numpy(theirs.decision_function(z)), torch.from_numpy(theirs.coef_)),
        ]
    ]
    assert losses[0] == pytest.approx(losses[1], abs=2e-3)
    assert losses[1] < 0.7 * np.log(6)


def test_the_same_features_at_another_size_or_twice_over_make_the_same_probe() -> None:
    features, labels = problem(400)
    logits = []
    for each in (features, 1e3 * features - 7, torch.cat([features, features], dim=1)):
        probe = train_probe(each, labels, 4, SETTINGS, CPU)
        logits.append(each @ probe.weight.T + probe.bias)
    assert logits[0].abs().max() > 1
    torch.testing.assert_close(logits[1], logits[0], rtol=0, atol=1e-8)
    torch.testing.assert_close(logits[2], logits[0], rtol=0, atol=1e-8)


def test_groups_of_the_grid_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = problem(300)
    told: list[tuple[int, int]] = []
    whole = train_probe(features, labels, 4, SETTINGS, CPU)
    for numbers, groups in ((1, 6), (4 * 13 * 4, 2)):  # a pair, and four pairs, at a time
        monkeypatch.setattr(module, "NUMBERS_AT_ONCE", numbers)
        told.clear()
        found = train_probe(features, labels, 4, SETTINGS, CPU, lambda done, count: told.append((done, count)))
        assert found.grid == whole.grid
        torch.testing.assert_close(found.weight, whole.weight, rtol=0, atol=1e-10)
        steps = groups * 4 * ((300 - found.holdout_count) // 32) + 4 * (300 // 32)
        assert told == [(done, steps) for done in range(1, steps + 1)]


def test_the_same_seed_gives_the_same_bits() -> None:
    features, labels = problem(300)
    first, again = (train_probe(features.float(), labels, 4, SETTINGS, CPU) for _ in range(2))
    assert torch.equal(first.weight, again.weight)
    assert torch.equal(first.bias, again.bias)
    assert first.grid == again.grid
    other = train_probe(features.float(), labels, 4, SETTINGS._replace(seed=4), CPU)
    assert not torch.equal(first.weight, other.weight)


# --- scaling -------------------------------------------------------------------------------------------------------


def test_scaling_in_parts_is_that_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = problem(500)
    features[:, 3] += 2e4  # sums of squares as they are would lose half of its deviation's digits
    rows = np.arange(0, 500, 3)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 7)
    found = scaling_of(samples_of(features, labels), rows)
    expected = features[rows]
    torch.testing.assert_close(found.mean, expected.mean(dim=0), rtol=1e-12, atol=0)
    torch.testing.assert_close(found.factor, 1 / (expected.std(dim=0, correction=0) * 12**0.5), rtol=1e-8, atol=0)
    z, _ = samples_of(features, labels).batch(rows, found)
    assert float(z[:, :-1].square().sum(dim=1).mean()) == pytest.approx(1)


def test_folding_is_exact() -> None:
    features, labels = problem(200)
    samples, every = samples_of(features, labels), np.arange(200)
    scaling = scaling_of(samples, every)
    weights = torch.randn(13, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    weight, bias = fold(weights, scaling)
    z, _ = samples.batch(every, scaling)
    torch.testing.assert_close(features @ weight.T + bias, z @ weights, rtol=0, atol=1e-10)


def test_constant_features_have_no_weight() -> None:
    features, labels = problem(200)
    plain = train_probe(features, labels, 4, SETTINGS, CPU)
    constant = features.float()
    constant[:, 2], constant[:, 5], constant[:, 7] = 0.0, 3.7, 1e4 + 1e-3 * torch.rand(200)  # the last: rounding alone
    probe = train_probe(constant, labels, 4, SETTINGS, CPU)
    assert bool(probe.weight.isfinite().all() & probe.bias.isfinite().all())
    assert probe.weight[:, [2, 5, 7]].abs().max() == 0
    assert probe.weight[:, [0, 1, 3]].abs().min() > 0
    assert plain.weight.abs().min() > 0


@pytest.mark.parametrize("kind", ["half", "mapped", "bfloat16"])
def test_features_in_half_precision_or_on_the_disk(tmp_path: Path, kind: str) -> None:
    features, labels = problem(400)
    features = features.to(torch.bfloat16 if kind == "bfloat16" else torch.float16)
    expected = train_probe(features.float(), labels, 4, SETTINGS, CPU)
    if kind == "mapped":
        np.save(tmp_path / "train.npy", features.numpy())
    given = np.load(tmp_path / "train.npy", mmap_mode="r") if kind == "mapped" else features
    found = train_probe(given, labels, 4, SETTINGS, CPU)
    assert found.weight.dtype == torch.float32
    assert torch.equal(found.weight, expected.weight)
    assert found.grid == expected.grid


# --- choosing ------------------------------------------------------------------------------------------------------


def test_the_split_is_stratified_disjoint_and_fixed_by_the_seed() -> None:
    labels = torch.cat([torch.full((count,), number) for number, count in enumerate([50, 21, 3, 2, 1])])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    rows = np.setdiff1d(np.arange(len(labels)), [int((labels == 0).nonzero()[0])])  # one can't be read
    rest, held_out = split(rows, labels, SETTINGS)
    assert sorted([*rest, *held_out]) == rows.tolist()
    assert torch.bincount(labels[held_out], minlength=5).tolist() == [10, 4, 1, 1, 0]
    again, other = split(rows, labels, SETTINGS), split(rows, labels, SETTINGS._replace(seed=8))
    assert again[1].tolist() == held_out.tolist()
    assert other[1].tolist() != held_out.tolist()
    largest = split(rows, labels, changed(holdout=0.9))[0]
    assert torch.bincount(labels[largest], minlength=5).min() == 1


def test_accuracies_of_the_grid_are_those_on_held_out_pictures() -> None:
    features, labels = problem(300)
    probe = train_probe(features, labels, 4, SETTINGS, CPU)
    rest, held_out = split(np.arange(300), labels, SETTINGS)
    assert (probe.train_count, probe.holdout_count, probe.unread) == (300, len(held_out), 0)
    scaled = standardised(features, features[rest])
    for tried in probe.grid:
        layer = trained_alone(scaled[rest], labels[rest], tried.lr, tried.weight_decay, SETTINGS)
        right = layer(scaled[held_out]).argmax(dim=1) == labels[held_out]
        assert tried.top1 == pytest.approx(100 * float(right.double().mean()))
    assert len({tried.top1 for tried in probe.grid}) > 1
    best = max(probe.grid, key=lambda tried: tried.top1 or 0)
    assert next(t for t in probe.grid if (t.lr, t.weight_decay) == (probe.lr, probe.weight_decay)).top1 == best.top1
    layer = trained_alone(standardised(features, features), labels, probe.lr, probe.weight_decay, SETTINGS)
    weight, bias = fold(torch.cat([layer.weight.T, layer.bias[None]]).detach(), scaling_of_all(features, labels))
    torch.testing.assert_close(probe.weight, weight, rtol=0, atol=1e-9)
    torch.testing.assert_close(probe.bias, bias, rtol=0, atol=1e-9)


def scaling_of_all(features: Tensor, labels: Tensor) -> Scaling:
    return scaling_of(samples_of(features, labels), np.arange(len(labels)))


def test_of_equals_the_one_with_more_decay_and_then_the_lower_rate_is_taken() -> None:
    # Far apart: every pair is right on all held-out pictures.
    features, labels = problem(200, noise=0.01)
    probe = train_probe(features, labels, 4, changed(epochs=30), CPU)
    assert {tried.top1 for tried in probe.grid} == {100.0}
    assert (probe.lr, probe.weight_decay) == (1.0, 1e-2)


def test_a_pair_that_diverged_is_passed_over() -> None:
    features, labels = problem(300)
    settings = changed(lrs=(1.0, 1e4), weight_decays=(1e-3, 10.0), epochs=60)
    probe = train_probe(features.float(), labels, 4, settings, CPU)
    lost = [(tried.lr, tried.weight_decay) for tried in probe.grid if tried.top1 is None]
    assert lost == [(1e4, 10.0)]
    assert (probe.lr, probe.weight_decay) not in lost
    assert probe.weight.isfinite().all()
    for lrs in ((1e4, 1e5), (1e4,)):
        with pytest.raises(Diverged, match=r"try rates below 10000"):
            train_probe(features.float(), labels, 4, changed(settings, lrs=lrs, weight_decays=(10.0,)), CPU)


def test_a_single_pair_needs_nothing_held_out() -> None:
    features, labels = problem(4, width=6)
    labels = torch.arange(4)
    single = changed(lrs=(1.0,), weight_decays=(0.0,))
    probe = train_probe(features, labels, 4, single, CPU)
    assert probe.grid == [Tried(1.0, 0.0, None)]
    assert (probe.train_count, probe.holdout_count) == (4, 0)


def test_where_no_class_has_two_pictures_the_middle_of_the_grid_is_trained() -> None:
    features, _ = problem(4, width=6)
    settings = changed(lrs=(10.0, 0.1, 1.0), weight_decays=(1e-3, 0.0))
    probe = train_probe(features, torch.arange(4), 4, settings, CPU)
    assert (probe.lr, probe.weight_decay, probe.holdout_count) == (1.0, 1e-3, 0)
    assert len(probe.grid) == 6
    alone = train_probe(features, torch.arange(4), 4, changed(settings, lrs=(1.0,), weight_decays=(1e-3,)), CPU)
    assert torch.equal(probe.weight, alone.weight)


# --- what can't be used --------------------------------------------------------------------------------------------


def test_pictures_without_features_are_left_out() -> None:
    features, labels = problem(303)
    features[7], features[100, 3], features[302, 0] = np.nan, np.inf, -np.inf
    good = np.setdiff1d(np.arange(303), [7, 100, 302])
    assert readable(samples_of(features, labels)).tolist() == good.tolist()

    def without_counts(probe: Probe) -> list[object]:
        return [probe.lr, probe.weight_decay, probe.grid, probe.train_count, probe.holdout_count]

    found = train_probe(features, labels, 4, SETTINGS, CPU)
    expected = train_probe(features[good], labels[good], 4, SETTINGS, CPU)
    assert found.unread == 3
    assert without_counts(found) == without_counts(expected)
    assert torch.equal(found.weight, expected.weight)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": torch.tensor([0, 1, 4, 1])}, "a picture has the label 4, but classes are 0 to 3"),
        ({"labels": torch.tensor([0, 1, -1, 1])}, "a picture has the label -1"),
        ({"features": torch.full((4, 3), torch.nan)}, "none of 4 pictures has features that are finite"),
        ({"labels": torch.full((4,), 2)}, "all pictures with features that are finite are of one class"),
    ],
)
def test_what_nothing_can_be_learnt_from(change: dict, said: str) -> None:
    given = {"features": torch.randn(4, 3), "labels": torch.tensor([0, 1, 0, 1]), "settings": SETTINGS, **change}
    with pytest.raises(UserError, match=said):
        train_probe(given["features"], given["labels"], 4, given["settings"], CPU)

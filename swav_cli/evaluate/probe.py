"""Linear classifiers on cached features: a grid of learning rates and weight decays, trained at once.

All pairs of the grid see the same batches, so that a step of all of them is one product of the batch with their weights
side by side, and one of the batch with their errors. The pair that does best on held-out pictures of the training data
is trained once more on all of them.

A feature x_f is scaled to z_f = (x_f - mean_f) / (deviation_f sqrt(F)). Over the training pictures z has mean 0 then,
and mean squared length 1 whatever the backbone's width and the size of its numbers: the curvature of the loss is below
1, and one grid of rates and decays fits any backbone. The classifier that is returned is for features as they are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from swav_cli.core.optimizer import learning_rate
from swav_cli.data.reading.loader import epoch_order
from swav_cli.errors import Diverged, Told, UserError, silent
from swav_cli.evaluate.features import FeatureRows
from swav_cli.recipe.classifier_schema import CachedRecipe

NUMBERS_AT_ONCE = 2**26  # weights trained together: a quarter of a gigabyte, and as much for their velocity
ROWS_AT_ONCE = 4096
ROUNDING = 1e-5  # a feature that varies by less, relative to its size or to the others, is a constant with noise

Indices = NDArray[np.int64]
Pair = tuple[float, float]  # learning rate, weight decay
Advance = Callable[[], None]  # called after each step


class ProbeSettings(NamedTuple):
    """How probes are trained."""

    cached: CachedRecipe  # its `holdout` is of each class
    momentum: float
    seed: int


class Tried(NamedTuple):
    """A pair of the grid."""

    lr: float
    weight_decay: float
    top1: float | None  # per cent of held-out pictures; None where it diverged, or was the only pair


class Probe(NamedTuple):
    """A linear classifier of features as they are: logits = weight x + bias."""

    weight: Tensor  # (C, F), on the CPU; float32, or float64 where the features are
    bias: Tensor  # (C,)
    lr: float
    weight_decay: float
    grid: list[Tried]
    train_count: int  # pictures it was trained on
    holdout_count: int  # those of them by which the pair was chosen
    unread: int  # pictures left out, since their features are not finite


class Scaling(NamedTuple):
    """z = (x - mean) * factor."""

    mean: Tensor  # (F,) float64
    factor: Tensor  # (F,) float64; 0 for a feature that is constant


class LabelledFeatures(NamedTuple):
    """Pictures' features and classes, gathered as they are needed: features are copied neither whole nor wider."""

    features: FeatureRows  # (N, F), in memory or on the disk
    labels: Tensor  # (N,)
    classes: int
    device: torch.device

    @property
    def dtype(self) -> torch.dtype:
        """In which is computed."""
        return torch.float64 if self.raw(np.arange(1)).dtype == torch.float64 else torch.float32

    @property
    def width(self) -> int:
        return int(self.features.shape[1])

    def raw(self, rows: Indices) -> Tensor:  # -> (B, F)
        if isinstance(self.features, Tensor):
            return self.features[torch.from_numpy(rows).to(self.features.device)]
        return torch.from_numpy(self.features[rows])

    def parts(self, rows: Indices) -> Iterator[tuple[Indices, Tensor]]:
        """Rows some at a time, in float64 on the CPU."""
        for first in range(0, len(rows), ROWS_AT_ONCE):
            own = rows[first : first + ROWS_AT_ONCE]
            yield own, self.raw(own).cpu().double()

    def batch(self, rows: Indices, scaling: Scaling) -> tuple[Tensor, Tensor]:  # -> (B, F + 1), (B,)
        """Scaled features with a column of ones, whose weight is the bias, and labels."""
        z = torch.ones(len(rows), self.width + 1, dtype=scaling.mean.dtype, device=self.device)
        raw = self.raw(rows).to(self.device, z.dtype)
        torch.mul(raw - scaling.mean, scaling.factor, out=z[:, :-1])
        return z, self.labels[torch.from_numpy(rows)].to(self.device)


def train_probe(
    features: FeatureRows,  # (N, F), in memory or on the disk
    labels: Tensor,  # (N,)
    classes: int,
    settings: ProbeSettings,
    device: torch.device,
    progress: Told = silent,
) -> Probe:
    """The linear classifier of the best pair of learning rate and weight decay.

    >>> features, labels = torch.eye(2).repeat(8, 1), torch.tensor([0, 1] * 8)
    >>> grid = CachedRecipe(lrs=[0.1, 1], weight_decays=[0, 0.001], epochs=20, batch_size=4, holdout=0.25)
    >>> probe = train_probe(features, labels, 2, ProbeSettings(grid, momentum=0.9, seed=0), torch.device("cpu"))
    >>> (features @ probe.weight.T + probe.bias).argmax(dim=1).equal(labels)
    True

    It follows from features, labels and settings alone. Of pairs that do equally well, the one with more decay and then
    the lower rate is taken; a single pair is trained without looking at held-out pictures. Where no class has two
    pictures, none can be held out, and the pair in the middle of the grid is trained.

    Args:
        progress: is told of the steps done, and of how many there are.

    Raises:
        UserError: nothing to try, or nothing to learn from.
        Diverged: every pair did.
    """
    samples = LabelledFeatures(features, labels.cpu().long(), classes, device)
    read = readable(samples)
    pairs = list(itertools.product(settings.cached.lrs, settings.cached.weight_decays))
    _check(samples, read)
    rest, held_out = (read, read[:0]) if len(pairs) == 1 else split(read, samples.labels, settings)
    groups = _groups(pairs, (samples.width + 1) * classes) if len(held_out) else []
    advance = _counting(progress, len(groups) * _steps(len(rest), settings) + _steps(len(read), settings))
    scaling = scaling_of(samples, rest)
    grid = [] if groups else [Tried(*pair, None) for pair in pairs]
    for group in groups:
        weights = train_pairs(samples, rest, scaling, group, settings, advance)
        found = _top1(samples, held_out, scaling, weights)
        grid += [Tried(*pair, top1) for pair, top1 in zip(group, found, strict=True)]
    best = _best(grid) if groups else _middle(grid)
    scaling = scaling_of(samples, read)
    weights = train_pairs(samples, read, scaling, [(best.lr, best.weight_decay)], settings, advance)
    if not bool(weights.isfinite().all()):
        raise _diverged(grid)
    weight, bias = fold(weights[..., 0], scaling)
    return Probe(weight, bias, best.lr, best.weight_decay, grid, len(read), len(held_out), len(labels) - len(read))


def _check(samples: LabelledFeatures, read: Indices) -> None:
    labels = samples.labels
    if len(labels) != len(samples.features):
        raise ValueError(f"{len(samples.features)} rows of features, but {len(labels)} labels")
    outside = labels[(labels < 0) | (labels >= samples.classes)]
    if len(outside):
        raise UserError(f"a picture has the label {int(outside[0])}, but classes are 0 to {samples.classes - 1}")
    if not len(read):
        raise UserError(f"none of {len(labels):,} pictures has features that are finite; nothing can be learnt")
    if len(labels[torch.from_numpy(read)].unique()) < 2:
        raise UserError("all pictures with features that are finite are of one class; give two or more to tell")


# --- pictures ------------------------------------------------------------------------------------------------------


def readable(samples: LabelledFeatures) -> Indices:
    """Pictures whose features are all finite, in their order."""
    every = np.arange(len(samples.features))
    found = [own[part.isfinite().all(dim=1).numpy()] for own, part in samples.parts(every)]
    return np.concatenate([every[:0], *found])


def split(rows: Indices, labels: Tensor, settings: ProbeSettings) -> tuple[Indices, Indices]:
    """Pictures to train the grid on, and those held out to choose by: a share of each class, fixed by the seed.

    At least one picture of a class is held out, and at least one is not: a class's only picture is trained on.
    """
    own = labels.numpy()[rows]
    out = [rows[:0]]
    for number, count in zip(*np.unique(own, return_counts=True), strict=True):
        drawn = np.random.Generator(np.random.Philox(key=[settings.seed, number])).permutation(count)
        wanted = min(max(1, round(settings.cached.holdout * int(count))), int(count) - 1)
        out.append(rows[own == number][drawn[:wanted]])
    held_out = np.sort(np.concatenate(out))
    return np.setdiff1d(rows, held_out), held_out


def scaling_of(samples: LabelledFeatures, rows: Indices) -> Scaling:
    """What gives those pictures' features mean 0 and deviation 1 / sqrt(F), from sums in float64."""
    first = samples.raw(rows[:1]).cpu().double()[0]  # sums of differences from it lose nothing where means are large
    total, squares = torch.zeros_like(first), torch.zeros_like(first)
    for _, part in samples.parts(rows):
        total += part.sub_(first).sum(dim=0)
        squares += part.square_().sum(dim=0)
    shift = total / len(rows)
    mean, deviation = first + shift, (squares / len(rows) - shift.square()).clamp_(min=0).sqrt()
    constant = deviation <= ROUNDING * torch.maximum(mean.abs(), deviation.mean())
    factor = torch.where(constant, 0, 1 / (deviation * math.sqrt(len(first))))
    return Scaling(*(each.to(samples.device, samples.dtype) for each in (mean, factor)))


def fold(weights: Tensor, scaling: Scaling) -> tuple[Tensor, Tensor]:  # (F + 1, C) of z -> (C, F), (C,) of x
    """The same classifier for features as they are; weights and bias on the CPU."""
    wide, mean, factor = (each.cpu().double() for each in (weights, scaling.mean, scaling.factor))
    weight = wide[:-1] * factor[:, None]
    bias = wide[-1] - mean @ weight
    return weight.T.contiguous().to(weights.dtype), bias.to(weights.dtype)


# --- training ------------------------------------------------------------------------------------------------------


def train_pairs(
    samples: LabelledFeatures,
    rows: Indices,
    scaling: Scaling,
    pairs: list[Pair],
    settings: ProbeSettings,
    advance: Advance,
) -> Tensor:  # (F + 1, C, G)
    """A classifier for each of G pairs, each trained as if alone, from zero (the loss is convex).

    SGD as torch.optim.SGD has it: g <- gradient + decay w, v <- momentum v + g, w <- w - rate v, for the bias as well,
    with half a cosine to 0, step by step. Each epoch is a permutation of its own, whose last pictures that don't fill
    a batch are left out, as everywhere; a batch is at most all pictures, and the rate goes by its size.
    """
    size, per_epoch = min(settings.cached.batch_size, len(rows)), _steps(len(rows), settings) // settings.cached.epochs
    rates, decays = (
        torch.tensor(each, dtype=samples.dtype, device=samples.device).repeat(samples.classes)
        for each in zip(*pairs, strict=True)
    )
    rates *= size / 256
    # The first class of all pairs, then the next: (F + 1, C G). A softmax over few classes is ten times as quick so.
    weights = torch.zeros(samples.width + 1, len(rates), dtype=samples.dtype, device=samples.device)
    velocity = torch.zeros_like(weights)
    every = torch.arange(size, device=samples.device)
    steps = per_epoch * settings.cached.epochs
    for step in range(steps):
        epoch, position = divmod(step, per_epoch)
        if position == 0:
            order = rows[epoch_order(len(rows), settings.seed, epoch)]
        z, labels = samples.batch(order[position * size : (position + 1) * size], scaling)
        errors = (z @ weights).view(size, -1, len(pairs)).softmax(dim=1)  # probabilities, less 1 at the class itself
        errors[every, labels] -= 1
        torch.addmm(velocity, z.T, errors.view(size, -1), beta=settings.momentum, alpha=1 / size, out=velocity)
        velocity.addcmul_(weights, decays)
        weights.addcmul_(velocity, rates, value=-learning_rate(step, steps, 0, 1.0, 0.0, 0.0))
        advance()
    return weights.view(len(weights), -1, len(pairs))


def _steps(count: int, settings: ProbeSettings) -> int:
    """Of one run on so many pictures."""
    return settings.cached.epochs * (count // min(settings.cached.batch_size, count))


def _groups(pairs: list[Pair], numbers: int) -> list[list[Pair]]:
    """Pairs that are trained together, as many as memory is set apart for.

    Args:
        numbers: weights of a pair.
    """
    together = max(1, NUMBERS_AT_ONCE // numbers)
    return [pairs[first : first + together] for first in range(0, len(pairs), together)]


def _counting(progress: Told, count: int) -> Advance:
    done = itertools.count(1)
    return lambda: progress(next(done), count)


# --- choosing ------------------------------------------------------------------------------------------------------


def _top1(
    samples: LabelledFeatures,
    rows: Indices,
    scaling: Scaling,
    weights: Tensor,  # (F + 1, C, G)
) -> list[float | None]:
    """Per cent of those pictures that each pair gets right; None for one that diverged."""
    right = torch.zeros(weights.shape[2], dtype=torch.long, device=samples.device)
    for first in range(0, len(rows), ROWS_AT_ONCE):
        z, labels = samples.batch(rows[first : first + ROWS_AT_ONCE], scaling)
        said = (z @ weights.flatten(1)).view(len(z), *weights.shape[1:]).argmax(dim=1)
        right += (said == labels[:, None]).sum(dim=0)
    finite = weights.isfinite().flatten(0, 1).all(dim=0).tolist()
    return [100 * hits / len(rows) if fine else None for hits, fine in zip(right.tolist(), finite, strict=True)]


def _best(grid: list[Tried]) -> Tried:
    """The pair that did best; of equals the one with more decay, then the lower rate."""
    judged = [tried for tried in grid if tried.top1 is not None]
    if not judged:
        raise _diverged(grid)
    return max(judged, key=lambda tried: (tried.top1, tried.weight_decay, -tried.lr))


def _middle(grid: list[Tried]) -> Tried:
    """The middle one of the rates, with the middle one of the decays."""
    rates, decays = sorted({tried.lr for tried in grid}), sorted({tried.weight_decay for tried in grid})
    middle = rates[len(rates) // 2], decays[len(decays) // 2]
    return next(tried for tried in grid if (tried.lr, tried.weight_decay) == middle)


def _diverged(grid: list[Tried]) -> Diverged:
    lowest = min(tried.lr for tried in grid)
    return Diverged(f"no pair of cached.lrs and cached.weight_decays stayed finite; try rates below {lowest:g}")

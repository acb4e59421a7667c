"""What a model makes of pictures, computed once: those that a folder of clusters knows already are not read again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from swav_cli.core.layers import Function
from swav_cli.core.weights import Model
from swav_cli.data.pictures import Pictures
from swav_cli.errors import Interrupted, Told, UserError, silent
from swav_cli.evaluate.clustering.kept import Kept, Row, Stamp, keys_of
from swav_cli.evaluate.clustering.space import SAMPLE, Space, space_of
from swav_cli.evaluate.features import Rows, Squares, stream_features
from swav_cli.evaluate.inference import Inference
from swav_cli.evaluate.prediction import TEMPERATURE
from swav_cli.parallel.stopping import StopSignal

PART, PART_SECONDS = 8192, 120.0  # pictures in a part of what is kept, and after how long a smaller one is written
NOT_FINITE = "the model's features are not finite"
DIGEST = 16  # bytes


class Seen(NamedTuple):
    """What is known of pictures, in their order."""

    row: Row
    new: int  # pictures that were computed now
    changed: int  # of those: pictures whose files are others than before
    gone: int  # pictures that the folder knows, and that are no longer there


class KnownSquares(Squares):
    """Tells of each picture its height and width, a digest of its pixels, and these shrunk to 8 by 8; as floats."""

    def told(self, picture: Tensor) -> Tensor:
        digest = hashlib.blake2b(f"{tuple(picture.shape)}".encode(), digest_size=DIGEST)
        digest.update(picture.contiguous().numpy().data)
        known = torch.tensor([*picture.shape[1:], *digest.digest()], dtype=torch.float32)
        return torch.cat([known, shrunk(picture)])


def shrunk(picture: Tensor) -> Tensor:  # (C, H, W) uint8 -> (192,) whole numbers from 0 to 255
    """Three channels of 8 by 8 pixels: what a picture looks like from far away."""
    three = picture[:3] if len(picture) >= 3 else picture[:1].expand(3, -1, -1)
    small = F.interpolate(three[None].float(), (8, 8), mode="bilinear", antialias=True)
    return small.round().clamp(0, 255).flatten()


def see(
    model: Model, pictures: Pictures, how: Inference, kept: Kept, progress: Told = silent, *, joins: bool = False
) -> Seen:
    """All that is known of the pictures; what the folder does not know is computed and kept there, part by part.

    Args:
        joins: these may be others than all that the folder knows.

    Raises:
        UserError: the folder knows pictures, and none of these.
        Interrupted: a signal came; all whole parts and the one begun are kept.
    """
    keys, stamps = keys_of(pictures)
    places = kept.places(keys, stamps)
    to_do = np.flatnonzero(places.at[:, 0] < 0)
    if not joins and places.gone and len(to_do) == len(keys) and not places.changed:
        raise UserError(
            f"--out {kept.folder.parent}: holds clusters of other pictures; name another folder, or begin "
            "anew with --overwrite"
        )
    at = places.at
    if len(to_do):
        _Computing(model, pictures, how, kept, progress).run(keys, stamps, to_do)
        at = kept.places(keys, stamps).at
    return Seen(kept.rows(at), len(to_do), places.changed, places.gone)


class _Computing:
    """The pass over pictures that are not known."""

    def __init__(self, model: Model, pictures: Pictures, how: Inference, kept: Kept, progress: Told) -> None:
        self.model, self.pictures, self.how, self.kept, self.progress = model, pictures, how, kept, progress
        self.function, self.width = features_and_cluster(model), model.network.feature_dim

    def run(self, keys: list[str], stamps: list[Stamp], to_do: NDArray[np.int64]) -> None:
        self.keys, self.stamps, self.done, self.count = keys, stamps, 0, len(to_do)
        with StopSignal() as self.stop:
            space = self.kept.space()
            if space is None:
                sample = to_do[np.linspace(0, len(to_do) - 1, min(SAMPLE, len(to_do)), dtype=int)]
                to_do = np.setdiff1d(to_do, sample)
                rows = list(self._stream(sample))
                self._check(saved=False)
                values = torch.cat([each.values[:, : self.width] for each in rows])
                finite = values[values.isfinite().all(dim=1)]
                space = space_of(finite if len(finite) else torch.zeros(1, self.width))
                self.kept.keep_space(space)
                self._keep(rows, space)
            self._rest(to_do, space)

    def _rest(self, to_do: NDArray[np.int64], space: Space) -> None:
        rows: list[Rows] = []
        held, since = 0, time.monotonic()
        for part in self._stream(to_do):
            rows.append(part)
            held += len(part.indices)
            if held >= PART or time.monotonic() - since > PART_SECONDS or self.stop.received:
                self._keep(rows, space)
                rows, held, since = [], 0, time.monotonic()
            self._check(saved=True)
        if rows:
            self._keep(rows, space)

    def _stream(self, chosen: NDArray[np.int64]) -> Iterator[Rows]:
        if not len(chosen):
            return
        for part in stream_features(
            self.function, self.pictures, self.model.about, self.how, chosen.tolist(), reader=KnownSquares
        ):
            self.done += len(part.indices)
            self.progress(self.done, self.count)
            yield part
            if self.stop.received:
                return

    def _check(self, saved: bool) -> None:
        if self.stop.received:
            words = "all is kept" if saved else "too few for any to be kept"
            raise Interrupted(f"stopped at {self.done:,} of {self.count:,} pictures; {words}", self.stop.received)

    def _keep(self, rows: list[Rows], space: Space) -> None:
        indices = torch.cat([each.indices for each in rows]).tolist()
        values, told = (torch.cat([getattr(each, name) for each in rows]) for name in ("values", "told"))
        errors = dict(pair for each in rows for pair in each.bad)
        finite = values.isfinite().all(dim=1)
        points = space.points(values[:, : self.width].nan_to_num(0, 0, 0))
        points[~finite] = 0
        said = [errors.get(index, "" if ok else NOT_FINITE) for index, ok in zip(indices, finite.tolist(), strict=True)]
        row = Row(
            points.numpy(), values[:, self.width :].numpy(), told[:, 2 : 2 + DIGEST].numpy().astype(np.uint8),
            told[:, :2].numpy().astype(np.int32), told[:, 2 + DIGEST :].numpy().astype(np.uint8), said,
        )  # fmt: skip
        self.kept.add([self.keys[index] for index in indices], [self.stamps[index] for index in indices], row)


def features_and_cluster(model: Model) -> Function:  # (B, C, H, W) -> (B, F) or (B, F + 4)
    """Pooled features, and where the model has prototypes what is said of the nearest: see `nearest_of`."""
    network = model.network

    def function(x: Tensor) -> Tensor:
        pooled = network.features(x)
        if not network.has("prototypes"):
            return pooled.float()
        cosines = network.similarity(network.project(pooled)).float()
        return torch.cat([pooled.float(), nearest_of(cosines)], dim=1)

    return function


def nearest_of(cosines: Tensor) -> Tensor:  # (B, K) -> (B, 4)
    """The nearest cluster, its probability, the second nearest (-1 of a single one), and the margin between both."""
    probability = F.softmax(cosines / TEMPERATURE, dim=1).amax(dim=1)
    best = cosines.topk(min(2, cosines.shape[1]), dim=1)
    second = best.indices[:, 1] if cosines.shape[1] > 1 else torch.full_like(best.indices[:, 0], -1)
    margin = best.values[:, 0] - best.values[:, -1]
    return torch.stack([best.indices[:, 0].float(), probability, second.float(), margin], dim=1)

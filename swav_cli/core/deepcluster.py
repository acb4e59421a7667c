"""DeepCluster-v2 pretraining (arXiv 2006.09882, appendix): the network and crops of SwAV, and other targets.

Where SwAV computes codes of each batch, here the embeddings of a whole epoch are remembered and clustered before the
next one: the centroids become the prototypes, which no gradient trains, and each picture's nearest one is the target of
all of its crops throughout the epoch. Several heads are several clusterings of these embeddings.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from swav_cli.core.health import Health
from swav_cli.core.kmeans import spherical_kmeans
from swav_cli.core.multicrop import MultiCrop
from swav_cli.core.objective import chosen
from swav_cli.core.precision import autocast
from swav_cli.core.swav import Trainer, statistics_left_alone
from swav_cli.core.train import quickest_convolutions
from swav_cli.core.transfer import moved
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.loader import Batch, Order, epoch_order, load_batches
from swav_cli.errors import Told, silent
from swav_cli.parallel import distributed
from swav_cli.recipe.schema import Recipe, settled
from swav_cli.run.metrics import Step

NONE = -100  # the target of a picture that was left out of the epoch before, for want of a whole batch
DRAWS = -2 << 40  # from where on k-means draws by: no crop of an epoch, which count from 0, has these numbers


def make_trainer(recipe: Recipe, pictures: Pictures, device: torch.device) -> Trainer:
    """The trainer of a settled recipe's objective."""
    kind = DeepCluster if recipe.objective == "deepcluster2" else Trainer
    return kind(recipe, pictures, device)


def cluster_prediction(
    embeddings: Tensor,  # (V, B, D): of every crop
    centroids: Tensor,  # (H, K, D): of each head
    targets: Tensor,  # (H, B): the nearest of them to each picture, or NONE
    temperature: float,
) -> Tensor:  # (): the loss, in nats
    """Cross entropy of each crop's prediction against its picture's target: the mean of crops and heads, summed over
    the pictures that have one.

    >>> embeddings, centroids = torch.zeros(3, 2, 8), torch.zeros(1, 4, 8)    # every prototype as likely as any other
    >>> cluster_prediction(embeddings, centroids, torch.tensor([[1, NONE]]), temperature=0.1)    # ln 4
    tensor(1.3863)
    """
    crops = len(embeddings)
    total = embeddings.new_zeros(())
    for head, own in zip(centroids, targets, strict=True):
        scores = F.linear(embeddings, head) / temperature  # (V, B, K)
        total = total + F.cross_entropy(scores.flatten(0, 1), own.repeat(crops), ignore_index=NONE, reduction="sum")
    return total / (crops * len(centroids))


class Memory:
    """The embeddings of an epoch's pictures, as they were when each was trained on: a row a picture, in their order.

    They are kept in the processor's memory: those of ImageNet take 1.3 GB. Of several processes each keeps the rows of
    its own pictures; `whole` and `take_share` are for checkpoints, which hold those of a single one.

    Args:
        pictures: of an epoch, over all processes.
        share: pictures of a part of a batch that are this process's.
        shape: (A, D), of a picture's embeddings.
    """

    def __init__(self, pictures: int, share: int, shape: tuple[int, int], dtype: torch.dtype) -> None:
        self.pictures, self.share = pictures, share
        self.rows = torch.zeros(pictures // distributed.world_size(), *shape, dtype=dtype)  # (R, A, D)

    def put(self, first: int, embeddings: Tensor) -> None:  # (A, B, D)
        """Replace the rows from `first` on; waits for the device that has computed them."""
        self.rows[first : first + embeddings.shape[1]] = embeddings.transpose(0, 1).to(self.rows)

    def at(self, places: Tensor, crop: int) -> Tensor:  # (K,) -> (K, D)
        """Rows of all processes by their places in the epoch; every process has to ask."""
        part, within = places // self.share, places % self.share
        world, rank = distributed.world_size(), distributed.rank()
        here = part % world == rank
        found = self.rows.new_zeros(len(places), self.rows.shape[2])
        found[here] = self.rows[(part // world * self.share + within)[here], crop]
        return distributed.sum_over_processes(found)  # one has it, and the others add zeros

    def in_order(self, own: Tensor) -> Tensor:  # (R, ...) -> (pictures, ...)
        """What every process has found of its rows, in the order of the epoch; every process has to ask."""
        return self._ordered(torch.cat(distributed.of_all(own)))

    def whole(self) -> Tensor:  # (pictures, A, D)
        """The rows in the order of the epoch, in the first process; every process has to ask."""
        rows = distributed.rows_in_first(self.rows)
        return self._ordered(rows) if distributed.is_writer() else rows

    def _ordered(self, rows: Tensor) -> Tensor:
        world = distributed.world_size()
        return rows if world == 1 else rows.unflatten(0, (world, -1, self.share)).transpose(0, 1).flatten(0, 2)

    def take_share(self, whole: Tensor) -> None:
        """This process's rows of what `whole` gave, by however many processes that was."""
        own = whole.unflatten(0, (-1, distributed.world_size(), self.share))[:, distributed.rank()]
        self.rows.copy_(own.flatten(0, 1))


class DeepCluster(Trainer):
    """A run of DeepCluster-v2 in progress; what is not told here is as SwAV's.

    Of the heads the first is the network's own: its centroids are the prototypes that a trained model has.
    """

    def __init__(self, recipe: Recipe, pictures: Pictures, device: torch.device) -> None:
        super().__init__(recipe, pictures, device)
        heads, dim = recipe.loss.clusters.heads, recipe.model.embedding_dim
        remembered = self.plan.steps_per_epoch * self.course.batch_size
        self.memory = Memory(remembered, self._share, (len(recipe.assigned_crops), dim), self.precise)
        self.centroids = torch.zeros(heads, settled(recipe.model.prototypes), dim, dtype=self.precise, device=device)
        self.targets = torch.full((heads, len(pictures)), NONE, dtype=torch.int32)  # of each picture, in every process
        self._fresh: list[Tensor] = []  # embeddings of the last step, part by part

    def state(self) -> dict[str, Any]:
        return {
            **super().state(),
            "memory": self.memory.whole(),
            "centroids": self.centroids,
            "targets": self.targets,
        }

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.memory.take_share(state["memory"])
        self.centroids.copy_(state["centroids"])
        self.targets.copy_(state["targets"])

    # --- the run ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def remember_all(self, workers: int, progress: Told = silent) -> None:
        """Fill the memory before the first step: pictures and assigned crops of an epoch -1, which is never trained.

        Running statistics of normalisation stay as they are.

        Args:
            workers: processes that read pictures.
            progress: told of pictures.
        """
        training, assigned = self.recipe.training, [crop for crop in self.recipe.crops if crop.assign]
        order = Order(
            len(self.pictures), self.course.batch_size, 0, training.seed,
            first_step=-self.plan.steps_per_epoch, parts=training.accumulate, share=distributed.local_share,
        )  # fmt: skip
        multicrop = MultiCrop(assigned, self.recipe.augment, training.seed)
        self.model.train()
        batches = load_batches(self.pictures, multicrop, order, workers, self.device.type == "cuda")
        with quickest_convolutions(), statistics_left_alone(self.model), closing(batches):
            for number, batch in enumerate(batches):
                with autocast(self.device, training.precision):
                    embeddings, _ = self.network(self.views(batch))
                crops = len(self.recipe.assigned_crops)
                self.memory.put(number * self._share, embeddings.unflatten(0, (crops, -1)))
                progress((number + 1) * self.memory.pictures // len(order), self.memory.pictures)

    def steps(self, workers: int) -> Generator[Step, None, None]:
        """As `Trainer.steps`, with new clusters at the start of each epoch. The memory has to be filled."""
        per_epoch = self.plan.steps_per_epoch
        if self.course.step % per_epoch == 0:
            self.cluster()
        with closing(super().steps(workers)) as steps:
            for step in steps:
                yield step
                if step.ends_epoch and step.number < step.steps:
                    self.cluster()

    @torch.no_grad()
    def cluster(self) -> None:
        """New centroids for every head, and of each remembered picture the nearest; drawn by the seed and the epoch.

        Each head in turn takes the next assigned crop's embeddings, the first one's again after the last.
        """
        seed, epoch = self.recipe.training.seed, self.course.step // self.plan.steps_per_epoch
        order = epoch_order(len(self.pictures), seed, epoch - 1)[: self.memory.pictures]  # whose rows they are
        draws = np.random.Generator(np.random.Philox(key=[seed, DRAWS + epoch]))
        crops, (heads, prototypes, _) = len(self.recipe.assigned_crops), self.centroids.shape
        self.targets.fill_(NONE)
        for head in range(heads):
            places = torch.from_numpy(draws.choice(self.memory.pictures, prototypes, replace=False))
            begin = moved(self.memory.at(places, head % crops), self.device)
            rows = self.memory.rows[:, head % crops]
            self.centroids[head], nearest = spherical_kmeans(rows, begin, self.recipe.loss.clusters.iterations)
            self.targets[head, torch.from_numpy(order)] = self.memory.in_order(nearest.int())
        self.model.prototypes.weight.copy_(self.centroids[0])

    # --- one step --------------------------------------------------------------------------------------------------

    def train_step(self, parts: list[Batch]) -> tuple[float, float]:
        """As `Trainer.train_step`; what the network makes of the pictures is remembered for the next epoch."""
        told = super().train_step(parts)
        fresh = torch.cat(self._fresh, dim=1)  # (A, B, D), computed by now: the step has waited for its loss
        self.memory.put((self.course.step - 1) % self.plan.steps_per_epoch * fresh.shape[1], fresh)
        return told

    def gradients(self, parts: list[Batch]) -> Tensor:
        """Gradients of a batch, and its loss: every crop predicts its picture's target.

        Targets are known beforehand, so that parts need no first pass as codes do.
        """
        assigned = self.recipe.assigned_crops
        targets = [self.targets_of(part) for part in parts]  # each (H, B)
        known = distributed.sum_over_processes((torch.cat(targets, dim=1)[0] != NONE).sum()).clamp(min=1)
        total = torch.zeros((), device=self.device, dtype=self.precise)
        self._fresh, scored = [], []
        for number, (part, own) in enumerate(zip(parts, targets, strict=True), 1):
            with nullcontext() if number == len(parts) else distributed.gradients_kept_back(self.network):
                embeddings, scores = self.forward(self.views(part))  # (V, B, D), and (V, B, K) of the first head
                # Of the pictures' mean; gradients and the loss are then averaged over the processes.
                loss = self.loss(embeddings, own) / known * distributed.world_size()
                with self.counted_once():
                    loss.backward()
            self._fresh.append(chosen(embeddings.detach(), assigned))
            scored.append(chosen(scores.detach(), assigned))
            total += loss.detach()
        self._look_at(torch.cat(self._fresh, dim=1), torch.cat(scored, dim=1))
        return total

    def targets_of(self, batch: Batch) -> Tensor:  # (H, B)
        """Each head's cluster of the batch's pictures, on the device."""
        return moved(self.targets[:, batch.indices].long(), self.device)

    def loss(self, embeddings: Tensor, targets: Tensor) -> Tensor:  # (V, B, D) and (H, B) -> ()
        """Summed over the pictures; see `cluster_prediction`."""
        return cluster_prediction(embeddings, self.centroids, targets, self.recipe.loss.temperature)

    def _look_at(self, embeddings: Tensor, scores: Tensor) -> None:  # (A, B, D) and (A, B, K)
        """For the run's health: a crop's code is the prototype that is nearest to it now, and no other."""
        codes = torch.zeros_like(scores).scatter_(-1, scores.argmax(dim=-1, keepdim=True), 1.0)
        self.meter.add(embeddings, scores, codes, self.recipe.loss.temperature)

    def health(self, epoch_share: float) -> Health:
        """As `Trainer.health`, but for how many pictures keep their prototype: all of these are new in each epoch."""
        return super().health(epoch_share)._replace(stability=None)

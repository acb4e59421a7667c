"""SwAV pretraining: the state of a run, and its step: crops, forward, codes, loss, backward, update."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from swav_cli.core.health import Health, HealthMeter
from swav_cli.core.multicrop import MultiCrop
from swav_cli.core.objective import Queue, assign_codes, swapped_prediction
from swav_cli.core.optimizer import make_optimizer
from swav_cli.core.photometric import recolour
from swav_cli.core.plan import make_model, make_plan
from swav_cli.core.precision import autocast, memory_format
from swav_cli.core.train import Course, Pace, run_steps
from swav_cli.core.transfer import moved
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.loader import Batch, Order, load_batches
from swav_cli.data.shards.streams import StreamPictures, load_stream
from swav_cli.errors import Diverged
from swav_cli.parallel import distributed
from swav_cli.parallel.synchronised_norm import with_synchronised_norms
from swav_cli.recipe.schema import Recipe, settled
from swav_cli.run.folder import RunFolder
from swav_cli.run.metrics import Progress


class Trainer:
    """A run in progress: the network and all that a checkpoint holds of it."""

    def __init__(self, recipe: Recipe, pictures: Pictures, device: torch.device) -> None:
        self.recipe, self.pictures, self.device = recipe, pictures, device
        self.course = Course(pictures.fingerprint(), pictures.contents())
        self.plan = make_plan(recipe, len(pictures))
        precise = torch.float64 if recipe.training.precision == "float64" else torch.float32
        model = make_model(recipe).to(device, precise).to(memory_format=memory_format(device))
        self.model = with_synchronised_norms(model, recipe.training.sync_batchnorm)
        # What is compiled at its first step within DistributedDataParallel is cut at the buckets of gradients, each of
        # which is sent while the next is computed; the same graphs come of compiling around it.
        compiled = torch.compile(self.model) if recipe.training.compile else self.model
        self.network: Callable[[list[Tensor]], tuple[Tensor, Tensor]] = distributed.shared_gradients(compiled, device)
        self.optimizer = make_optimizer(recipe.optimizer, self.model.parameters(), self.plan.peak_lr)
        self.queue: Queue | None = None
        if recipe.loss.queue.length:
            queue = Queue(len(recipe.assigned_crops), settled(recipe.loss.queue.length), recipe.model.embedding_dim)
            self.queue = queue.to(device, precise)
        self.meter = HealthMeter(self.model.prototypes.out_features, device)
        self.mean = torch.tensor(settled(recipe.data.mean), device=device)
        self.std = torch.tensor(settled(recipe.data.std), device=device)
        self.multicrop = MultiCrop(recipe.crops, recipe.augment, recipe.training.seed)

    # --- state -----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """The same by however many processes; each has to ask, since queue and counts are divided over them."""
        return {
            **self.course.state(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "queue": self.queue.whole(self._share) if self.queue is not None else None,
            "prototype_counts": distributed.sum_over_processes(self.meter.counts.clone()),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.queue is not None:
            self.queue.take_share(state["queue"], self._share)
        if distributed.is_writer():
            self.meter.counts.copy_(state["prototype_counts"])
        self.course.restore(state)

    @property
    def _share(self) -> int:
        """Pictures of one part of a batch that are this process's."""
        training = self.recipe.training
        return settled(training.batch_size) // training.accumulate // distributed.world_size()

    # --- one step --------------------------------------------------------------------------------------------------

    def views(self, batch: Batch) -> list[Tensor]:
        """The crops of a batch as the network takes them: V tensors (B, C, size, size), coloured and normalised."""
        views: list[Tensor] = []
        precise = next(self.model.parameters()).dtype
        for crops in batch.crops:
            size, count = crops.shape[0], crops.shape[1]
            first = len(views)
            flat = moved(crops, self.device).transpose(0, 1).flatten(0, 1)
            numbers = batch.numbers[:, first : first + count].transpose(0, 1).flatten(0, 1)
            coloured = recolour(flat, numbers, self.mean, self.std).to(precise)
            views += coloured.contiguous(memory_format=memory_format(self.device)).split(size)
        return views

    def backward(self, parts: list[Batch]) -> Tensor:
        """Gradients of a whole batch, which may come in several parts; its loss."""
        if len(parts) == 1:
            return self._backward_whole(self.views(parts[0]))
        return self._backward_in_parts(parts)

    def _backward_whole(self, views: list[Tensor]) -> Tensor:
        embeddings, scores = self._forward(views)
        codes = self._codes(embeddings, scores)
        loss = swapped_prediction(scores, codes, self.recipe.assigned_crops, self.recipe.loss.temperature)
        loss.backward()
        return loss.detach()

    def _backward_in_parts(self, parts: list[Batch]) -> Tensor:
        """Codes come from the whole batch: a first pass without gradient embeds it, a second one trains part by part.

        Every part is normalised by its own statistics, as on a process of its own. The first pass takes all crops,
        since the head's normalisation sees them together and codes would else differ from those of many processes.
        """
        assigned = self.recipe.assigned_crops
        embedded, scored = [], []
        with torch.no_grad(), statistics_left_alone(self.model):
            for part in parts:
                embeddings, scores = self._forward(self.views(part))
                embedded.append(embeddings[assigned])
                scored.append(scores[assigned])
        everything = torch.cat(embedded, dim=1)
        codes = self._codes_of(everything, torch.cat(scored, dim=1))
        total = torch.zeros((), device=self.device, dtype=everything.dtype)
        for number, (part, own) in enumerate(zip(parts, codes.chunk(len(parts), dim=1), strict=True), 1):
            last = number == len(parts)
            with nullcontext() if last else distributed.gradients_kept_back(self.network):
                _, scores = self._forward(self.views(part))
                loss = swapped_prediction(scores, own, assigned, self.recipe.loss.temperature) / len(parts)
                loss.backward()
            total += loss.detach()
        return total

    def _forward(self, views: list[Tensor]) -> tuple[Tensor, Tensor]:  # (V, B, D) and (V, B, K)
        with autocast(self.device, self.recipe.training.precision):
            embeddings, scores = self.network(views)
        return embeddings.unflatten(0, (len(views), -1)), scores.unflatten(0, (len(views), -1))

    def _codes(self, embeddings: Tensor, scores: Tensor) -> Tensor:
        assigned = self.recipe.assigned_crops
        return self._codes_of(embeddings.detach()[assigned], scores.detach()[assigned])

    def _codes_of(self, embeddings: Tensor, scores: Tensor) -> Tensor:
        self.meter.add(embeddings, scores)
        queue = self.queue if self.course.step >= self.plan.queue_from else None
        loss = self.recipe.loss
        prototypes = self.model.prototypes.weight.detach()
        return assign_codes(embeddings, prototypes, queue, loss.epsilon, loss.sinkhorn_iterations)

    def train_step(self, parts: list[Batch]) -> tuple[float, float]:
        """One step of SwAV: the loss, and the norm of its gradient.

        Raises:
            Diverged: one of them is not finite; the weights are left as they were.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.lr(self.course.step)
        self.model.normalize_prototypes()
        self.optimizer.zero_grad()
        loss = distributed.mean_over_processes(self.backward(parts))
        distributed.average_running_statistics(self.model)
        if self.course.step < self.plan.frozen_steps:
            self.model.prototypes.weight.grad = None  # optimizers leave out what has no gradient
        norm = nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        numbers = torch.stack([loss.float(), norm.float()]).tolist()  # the step's one wait for the device
        if not all(map(math.isfinite, numbers)):
            raise Diverged(self._explain_divergence(numbers, parts))
        self.optimizer.step()
        self.course.step += 1
        return numbers[0], numbers[1]

    def _explain_divergence(self, numbers: list[float], parts: list[Batch]) -> str:
        names = [self.pictures.name(int(index)) for part in parts for index in part.indices]
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        largest = float(self.meter.scores.abs().max()) if self.meter.scores is not None else float("nan")
        step = self.course.step
        return (
            f"step {step}: the loss is {numbers[0]:g} and its gradient's norm {numbers[1]:g}, learning rate "
            f"{self.plan.lr(step):g}, largest score {largest:g}. The last good checkpoint is kept; go on from it "
            f"with a lower --set optimizer.lr and --init-from, or --set training.precision=float32. Pictures: {shown}"
        )

    # --- the run ---------------------------------------------------------------------------------------------------

    def lr(self, step: int) -> float:
        return self.plan.lr(step)

    def train_mode(self) -> None:
        self.model.train()

    def run(
        self,
        folder: RunFolder,
        workers: int,
        on_step: Callable[[Progress], None],
        on_epoch: Callable[[int, Health, float], dict[str, Any]],
    ) -> float:
        """Train to the end, saving on the way; the last loss. See `run_steps` for what it raises.

        Args:
            on_step: told of each step.
            on_epoch: told of each epoch's health and mean loss; what it returns joins the epoch's metrics.
        """
        recipe, plan = self.recipe, self.plan
        batch_size, parts = settled(recipe.training.batch_size), recipe.training.accumulate
        order = Order(
            len(self.pictures), batch_size, settled(recipe.training.epochs), recipe.training.seed, self.course.step,
            parts, distributed.local_share,
        )  # fmt: skip
        batches = self._batches(order, workers)
        ln_k = math.log(self.model.prototypes.out_features)
        pace = Pace(
            plan.steps, plan.steps_per_epoch, batch_size, parts, recipe.training.log_every, recipe.checkpoint,
            recipe.data.max_bad, ln_k,
        )  # fmt: skip

        def end_of_epoch(epoch: int, mean_loss: float) -> dict[str, Any]:
            health = self.meter.read()
            assert health is not None
            found = on_epoch(epoch, health, mean_loss)
            return {"loss_over_ln_k": mean_loss / ln_k, **health._asdict(), **found}

        return run_steps(self, pace, batches, folder, on_step, end_of_epoch)

    def _batches(self, order: Order, workers: int) -> Generator[Batch, None, None]:
        pin_memory = self.device.type == "cuda"
        if not isinstance(self.pictures, StreamPictures):
            return load_batches(self.pictures, self.multicrop, order, workers, pin_memory)
        return load_stream(
            self.pictures, self.multicrop, order, self.course.finished_shards, workers, pin_memory,
            max_bad=self.recipe.data.max_bad, rank=distributed.rank(), processes=distributed.world_size(),
        )  # fmt: skip


class statistics_left_alone:  # noqa: N801  (reads as what it does: with statistics_left_alone(model): ...)
    """Within it, batch normalisation uses each batch's own statistics and keeps its running ones as they are."""

    def __init__(self, model: nn.Module) -> None:
        self.norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]

    def __enter__(self) -> None:
        for norm in self.norms:
            norm.track_running_stats = False

    def __exit__(self, *_: object) -> None:
        for norm in self.norms:
            norm.track_running_stats = True

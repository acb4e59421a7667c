"""The training loop: load, forward, loss, backward, step, log, save, in the order in which they happen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import torch
from torch import Tensor, nn

from swav_cli.core import distributed
from swav_cli.core.checkpoint import RunFolder, save_checkpoint
from swav_cli.core.clock import Clock
from swav_cli.core.health import Health, HealthMeter
from swav_cli.core.metrics import MetricsFile, Progress
from swav_cli.core.objective import Queue, assign_codes, swapped_prediction
from swav_cli.core.optimizer import make_optimizer
from swav_cli.core.photometric import recolour
from swav_cli.core.plan import make_model, make_multicrop, make_plan
from swav_cli.core.precision import autocast
from swav_cli.core.recipe import Recipe, settled
from swav_cli.core.stopping import StopSignal
from swav_cli.data.loader import Batch, Order, load_batches
from swav_cli.data.sources import Pictures
from swav_cli.errors import Diverged, Interrupted, UserError


class Trainer:
    """A run in progress: the network and all that a checkpoint holds of it."""

    def __init__(self, recipe: Recipe, pictures: Pictures, device: torch.device) -> None:
        self.recipe, self.pictures, self.device = recipe, pictures, device
        self.fingerprint = pictures.fingerprint()
        self.plan = make_plan(recipe, len(pictures))
        precise = torch.float64 if recipe.training.precision == "float64" else torch.float32
        model = make_model(recipe).to(device, precise).to(memory_format=torch.channels_last)
        self.model = distributed.with_synchronised_norms(model, recipe.training.sync_batchnorm)
        self.network: Callable[[list[Tensor]], tuple[Tensor, Tensor]] = self.model
        if recipe.training.compile:
            self.network = torch.compile(self.model)
        settings = recipe.optimizer
        self.optimizer = make_optimizer(
            settings.name,
            self.model.parameters(),
            self.plan.peak_lr,
            settings.momentum,
            settings.weight_decay,
            settings.trust_coefficient,
        )
        self.queue: Queue | None = None
        if recipe.loss.queue.length:
            queue = Queue(len(recipe.assigned_crops), settled(recipe.loss.queue.length), recipe.model.embedding_dim)
            self.queue = queue.to(device, precise)
        self.meter = HealthMeter(self.model.prototypes.out_features, device)
        self.mean = torch.tensor(settled(recipe.data.mean), device=device)
        self.std = torch.tensor(settled(recipe.data.std), device=device)
        self.multicrop = make_multicrop(recipe)
        self.step = 0
        self._began, self._seconds_before = time.monotonic(), 0.0
        self.epoch_losses: list[float] = []
        self.bad: dict[int, str] = {}

    @property
    def seconds(self) -> float:
        """How long the run has taken, with the times before it was stopped."""
        return self._seconds_before + time.monotonic() - self._began

    # --- state -----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "seconds": self.seconds,
            "epoch_losses": list(self.epoch_losses),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "queue": self.queue.state_dict() if self.queue is not None else None,
            "prototype_counts": self.meter.counts,
            "bad": dict(self.bad),
            "fingerprint": self.fingerprint,
            "generator": torch.get_rng_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.step, self._seconds_before, self.bad = state["step"], state["seconds"], dict(state["bad"])
        self.epoch_losses = list(state["epoch_losses"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.queue is not None:
            self.queue.load_state_dict(state["queue"])
        self.meter.counts.copy_(state["prototype_counts"])
        torch.set_rng_state(state["generator"])

    # --- one step --------------------------------------------------------------------------------------------------

    def views(self, batch: Batch) -> list[Tensor]:
        """The crops of a batch as the network takes them: V tensors (B, C, size, size), coloured and normalised."""
        views: list[Tensor] = []
        precise = next(self.model.parameters()).dtype
        for crops in batch.crops:
            size, count = crops.shape[0], crops.shape[1]
            first = len(views)
            flat = crops.to(self.device, non_blocking=True).transpose(0, 1).flatten(0, 1)
            numbers = batch.numbers[:, first : first + count].transpose(0, 1).flatten(0, 1)
            coloured = recolour(flat, numbers, self.mean, self.std).to(precise)
            views += coloured.contiguous(memory_format=torch.channels_last).split(size)
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
        for part, own in zip(parts, codes.chunk(len(parts), dim=1), strict=True):
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
        queue = self.queue if self.step >= self.plan.queue_from else None
        loss = self.recipe.loss
        prototypes = self.model.prototypes.weight.detach()
        return assign_codes(embeddings, prototypes, queue, loss.epsilon, loss.sinkhorn_iterations)

    def train_step(self, parts: list[Batch]) -> tuple[float, float]:
        """One step of SwAV: the loss, and the norm of its gradient.

        Raises:
            Diverged: one of them is not finite; the weights are left as they were.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.lr(self.step)
        self.model.normalize_prototypes()
        self.model.prototypes.requires_grad_(self.step >= self.plan.frozen_steps)
        self.optimizer.zero_grad()
        loss = distributed.mean_over_processes(self.backward(parts))
        distributed.average_gradients(self.model.parameters())
        norm = nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        numbers = torch.stack([loss.float(), norm.float()]).tolist()  # the step's one wait for the device
        if not all(map(math.isfinite, numbers)):
            raise Diverged(self._explain_divergence(numbers, parts))
        self.optimizer.step()
        self.step += 1
        return numbers[0], numbers[1]

    def _explain_divergence(self, numbers: list[float], parts: list[Batch]) -> str:
        names = [self.pictures.name(int(index)) for part in parts for index in part.indices]
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        largest = float(self.meter.scores.abs().max()) if self.meter.scores is not None else float("nan")
        return (
            f"step {self.step}: the loss is {numbers[0]:g} and its gradient's norm {numbers[1]:g}, learning rate "
            f"{self.plan.lr(self.step):g}, largest score {largest:g}. The last good checkpoint is kept; go on from it "
            f"with a lower --set optimizer.lr and --init-from, or --set training.precision=float32. Pictures: {shown}"
        )

    # --- the run ---------------------------------------------------------------------------------------------------

    def run(
        self,
        folder: RunFolder,
        workers: int,
        on_step: Callable[[Progress], None],
        on_epoch: Callable[[int, Health, float], dict[str, Any]],
    ) -> float:
        """Train to the end, saving on the way; the last loss.

        Args:
            on_step: told of each step.
            on_epoch: told of each epoch's health and mean loss; what it returns joins the epoch's metrics.

        Raises:
            Interrupted: a signal came; all is saved.
            Diverged: the loss is no longer finite.
        """
        recipe, plan = self.recipe, self.plan
        order = Order(
            len(self.pictures), settled(recipe.training.batch_size), settled(recipe.training.epochs),
            recipe.training.seed, self.step, recipe.training.accumulate, distributed.local_share,
        )  # fmt: skip
        pin = self.device.type == "cuda"
        batches = load_batches(self.pictures, self.multicrop, order, workers, pin)
        ln_k = math.log(self.model.prototypes.out_features)
        metrics = MetricsFile(folder.metrics, self.step)
        self.model.train()
        torch.backends.cudnn.benchmark = True  # sizes of crops are few and stay the same
        clock = Clock()
        loss, saved_at = math.nan, time.monotonic()
        with StopSignal() as stop, closing(batches):  # however the run ends, its workers end
            while self.step < plan.steps:
                with clock.waiting():
                    parts = [next(batches) for _ in range(recipe.training.accumulate)]
                self._note_bad(parts, folder)
                loss, norm = self.train_step(parts)
                self.epoch_losses.append(loss)
                done = clock.tick(settled(recipe.training.batch_size))
                epoch, in_epoch = divmod(self.step - 1, plan.steps_per_epoch)
                ends = in_epoch + 1 == plan.steps_per_epoch
                progress = Progress(self.step, plan.steps, epoch, loss, loss / ln_k, done.rate, done.waiting)
                on_step(progress)
                if self.step % recipe.training.log_every == 0 or self.step in (1, plan.steps):
                    metrics.write_step(progress, plan.lr(self.step - 1), norm, self.seconds)
                if ends:
                    health = self.meter.read()
                    assert health is not None
                    mean_loss = sum(self.epoch_losses) / len(self.epoch_losses)
                    metrics.write_epoch(self.step, epoch, mean_loss / ln_k, health, on_epoch(epoch, health, mean_loss))
                    self.epoch_losses.clear()
                    self.model.train()
                    clock.restart()
                overdue = time.monotonic() - saved_at > 60 * recipe.checkpoint.every_minutes
                if ends or overdue or stop.received:
                    self._save(folder, epoch + 1 if ends else None)
                    saved_at = time.monotonic()
                    clock.restart()
                if stop.received and self.step < plan.steps:
                    raise Interrupted(f"stopped at step {self.step} of {plan.steps}; all is saved", stop.received)
        return loss

    def _save(self, folder: RunFolder, epochs_done: int | None) -> None:
        keep = self.recipe.checkpoint.keep_epochs
        kept = f"epoch-{epochs_done:04d}.pt" if epochs_done and keep and epochs_done % keep == 0 else None
        if distributed.is_writer():
            save_checkpoint(folder, self.state(), kept)

    def _note_bad(self, parts: list[Batch], folder: RunFolder) -> None:
        """Remember pictures that could not be read.

        Raises:
            UserError: they are more than the recipe bears.
        """
        fresh = {index: why for part in parts for index, why in part.bad if index not in self.bad}
        if not fresh:
            return
        self.bad |= fresh
        names = [f"{self.pictures.name(index)}: {why}" for index, why in sorted(self.bad.items())]
        if distributed.is_writer():
            folder.bad_pictures.write_text("\n".join(names) + "\n", encoding="utf-8", errors="surrogateescape")
        most = self.recipe.data.max_bad
        if len(self.bad) > most * len(self.pictures):
            shown = "\n  ".join(names[:10])
            raise UserError(
                f"{len(self.bad)} of {len(self.pictures)} pictures can't be read, more than data.max_bad ({most:g}); "
                f"mend or remove them, or raise it. All seen so far are in {folder.bad_pictures}, first:\n  {shown}"
            )


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

"""SwAV pretraining (arXiv 2006.09882, algorithm 1): the state of a run, and its step.

The step is `Trainer.train_step`, and in it `Trainer.gradients`: views, forward, codes, loss, backward, update. What
they call stands in a file each: `photometric.recolour`, `model.SwAV`, `sinkhorn.sinkhorn`, `optimizer.LARS`,
`objective.swapped_prediction`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from swav_cli.core.compiling import compiled_colours, quickened
from swav_cli.core.device_crops import DeviceCrops
from swav_cli.core.health import Health, HealthMeter
from swav_cli.core.model import SwAV
from swav_cli.core.multicrop import MultiCrop
from swav_cli.core.objective import Queue, assign_codes, chosen, swapped_prediction
from swav_cli.core.optimizer import make_optimizer
from swav_cli.core.photometric import recolour
from swav_cli.core.plan import make_model, make_plan
from swav_cli.core.precision import autocast, memory_format
from swav_cli.core.sample import Sample
from swav_cli.core.sinkhorn import FollowingEpsilon
from swav_cli.core.train import Course, quickest_convolutions
from swav_cli.core.transfer import moved
from swav_cli.core.weights import Model, about
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.boxes import Boxes
from swav_cli.data.reading.cache import CachedPictures
from swav_cli.data.reading.loader import Batch, load_batches, load_from
from swav_cli.data.shards.streams import ShardShare, StreamPictures, load_stream
from swav_cli.errors import Diverged
from swav_cli.parallel import distributed
from swav_cli.parallel.synchronised_norm import with_synchronised_norms
from swav_cli.recipe.schema import Recipe, settled
from swav_cli.recipe.sections import LossRecipe
from swav_cli.run.metrics import Step


class Trainer:
    """A run in progress: the network and all that a checkpoint holds of it.

    Args:
        recipe: settled; no value says `auto` any more.
    """

    def __init__(self, recipe: Recipe, pictures: Pictures, device: torch.device) -> None:
        self.recipe, self.pictures, self.device = recipe, pictures, device
        self.plan = make_plan(recipe, len(pictures))
        self.course = Course(recipe.training, pictures, self.plan.ln_k)
        self.precise = torch.float64 if recipe.training.precision == "float64" else torch.float32
        model = make_model(recipe).to(device, self.precise).to(memory_format=memory_format(device))
        self.model = with_synchronised_norms(model, recipe.training.sync_batchnorm)
        network = quickened(self.model, settled(recipe.training.compile))
        self.network: Callable[[list[Tensor]], tuple[Tensor, Tensor]] = distributed.shared_gradients(network, device)
        self.coloured_at_once = compiled_colours(settled(recipe.training.compile))
        self.optimizer = make_optimizer(recipe.optimizer, self.model.parameters(), self.plan.peak_lr)
        self.queue: Queue | None = None
        if recipe.loss.queue.length:
            queue = Queue(len(recipe.assigned_crops), settled(recipe.loss.queue.length), recipe.model.embedding_dim)
            self.queue = queue.to(device, self.precise)
        self.epsilon = make_epsilon(recipe.loss)
        self.meter = HealthMeter(settled(recipe.model.prototypes), self.plan.ln_k, device)
        self.sample = Sample(recipe)
        self.before_queue: tuple[float, float] | None = (
            None  # share of ln K, entropy of codes: of the last epoch without
        )
        self.at_queue: tuple[float, float] | None = None  # the same of the first epoch with it throughout
        self.gradient_norms: dict[str, float] = {}  # of the last step, by the part of the network
        self.mean = torch.tensor(settled(recipe.data.mean), device=device)
        self.std = torch.tensor(settled(recipe.data.std), device=device)
        self.multicrop = MultiCrop(recipe.crops, recipe.augment, recipe.training.seed)
        self.on_device: DeviceCrops | None = None  # where the device has the pictures, and cuts their crops

    def keep_on_device(self, pictures: CachedPictures) -> None:
        """From here on crops are cut on the device that trains."""
        self.pictures, self.on_device = pictures, DeviceCrops(pictures, self.recipe.crops, self.device)

    # --- state -----------------------------------------------------------------------------------------------------

    def trained(self) -> Model:
        """The network as it is now, with its description."""
        return Model(self.model, about(self.recipe))

    def state(self) -> dict[str, Any]:
        """The same by however many processes; each has to ask, since queue and counts are divided over them."""
        return {
            **self.course.state(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "queue": self.queue.whole(self._share) if self.queue is not None else None,
            **self.meter.state(),
            "sample_nearest": self.sample.nearest,
            "before_queue": self.before_queue,
            "at_queue": self.at_queue,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.queue is not None:
            self.queue.take_share(state["queue"], self._share)
        self.meter.restore(state)
        self.sample.nearest = state.get("sample_nearest")
        self.before_queue, self.at_queue = state.get("before_queue"), state.get("at_queue")
        self.course.restore(state)

    @property
    def _share(self) -> int:
        """Pictures of one part of a batch that are this process's."""
        training = self.recipe.training
        return settled(training.batch_size) // training.accumulate // distributed.world_size()

    # --- the run ---------------------------------------------------------------------------------------------------

    def steps(self, workers: int) -> Generator[Step, None, None]:
        """Train from where the run is to its end, a step at a time; to be closed, which ends the workers.

        Args:
            workers: processes that read pictures.

        Raises:
            Diverged: the loss is no longer finite.
        """
        with quickest_convolutions(), closing(self._batches(workers)) as batches:
            while self.course.step < self.plan.steps:
                self.model.train()  # whatever was done with it since the last step
                parts = self.course.next_parts(batches)
                lr = self.plan.lr(self.course.step)
                loss, norm = self.train_step(parts)
                yield self.course.taken(parts, loss, norm, lr, self.gradient_norms)

    def _batches(self, workers: int) -> Generator[Batch, None, None]:
        order, pin_memory = self.course.order(), self.device.type == "cuda"
        if not isinstance(self.pictures, StreamPictures):
            if self.on_device is not None:
                return load_from(Boxes(self.pictures, self.multicrop.draw), order, workers, pin_memory)
            return load_batches(self.pictures, self.multicrop, order, workers, pin_memory)
        share = ShardShare(distributed.rank(), distributed.world_size(), finished=self.course.finished_shards)
        return load_stream(self.pictures, self.multicrop, order, share, workers, pin_memory)

    # --- one step --------------------------------------------------------------------------------------------------

    def train_step(self, parts: list[Batch]) -> tuple[float, float]:
        """One step of SwAV: the loss, in nats, and the norm of its gradient.

        Args:
            parts: this process's pictures of the step, in the parts in which they go through the network.

        Raises:
            Diverged: one of them is not finite; the weights are left as they were.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.lr(self.course.step)
        self.optimizer.zero_grad()
        loss = distributed.mean_over_processes(self.gradients(parts))
        distributed.average_running_statistics(self.model)
        if self.course.step < self.plan.frozen_steps:
            self.model.prototypes.weight.grad = None  # optimizers leave out what has no gradient
        norms = gradient_norms(self.model)
        told, norm, *of_parts = torch.stack([loss.float(), *norms.values()]).tolist()  # waits for all of the step
        if not (math.isfinite(told) and math.isfinite(norm)):
            raise Diverged(self._explain_divergence([told, norm], parts))
        self.gradient_norms = dict(zip(list(norms)[1:], of_parts, strict=True))
        self.optimizer.step()
        self.course.step += 1
        return told, norm

    def gradients(self, parts: list[Batch]) -> Tensor:
        """Gradients of a batch, and its loss: every crop predicts the codes of the others."""
        self.model.normalize_prototypes()
        if len(parts) > 1:
            return self.backward_in_parts(parts)
        embeddings, scores = self.forward(self.views(parts[0]))  # (V, B, D) and (V, B, K)
        assigned = self.recipe.assigned_crops
        codes = self.codes(chosen(embeddings.detach(), assigned), chosen(scores.detach(), assigned))  # (A, B, K)
        loss = swapped_prediction(scores, codes, assigned, self.recipe.loss.temperature)
        with self.counted_once():
            loss.backward()
        return loss.detach()

    def health(self, epoch_share: float) -> Health:
        """The numbers of the epoch that has ended; the model is in eval mode afterwards.

        Args:
            epoch_share: of ln K, the epoch's mean loss.
        """
        seen = None
        if not isinstance(self.pictures, StreamPictures):  # whose pictures come once
            seen = self.sample.look(self.model, self.pictures, self.device)
        health = self.meter.read(self.model.prototypes.weight, len(self.recipe.assigned_crops), seen)
        return self._beside_the_queue(health, epoch_share)

    def _beside_the_queue(self, health: Health, epoch_share: float) -> Health:
        """With what the start of the queue did, once it has taken part for an epoch."""
        length, step, per_epoch = settled(self.recipe.loss.queue.length), self.course.step, self.plan.steps_per_epoch
        full_from = self.plan.queue_from + math.ceil(length / self.course.batch_size)
        if not length or step <= full_from:
            self.before_queue = epoch_share, health.code_entropy
            return health
        if self.at_queue is None and step - full_from >= per_epoch:
            self.at_queue = epoch_share, health.code_entropy
        if self.before_queue is None or self.at_queue is None:
            return health
        (loss, entropy), (loss_then, entropy_then) = self.before_queue, self.at_queue
        return health._replace(
            queue_epochs=length / (self.course.batch_size * per_epoch),
            queue_jump=loss_then - loss,
            queue_sharpening=entropy_then / max(entropy, 1e-6),
        )

    @torch.no_grad()  # in both passes over several parts, so that what is compiled for the one serves the other
    def views(self, batch: Batch) -> list[Tensor]:
        """The crops of a batch as the network takes them: of each size (count B, C, size, size), crop after crop."""
        views: list[Tensor] = []
        first = 0
        cut = self.on_device(batch.boxes) if self.on_device is not None and batch.boxes is not None else batch.crops
        for crops in cut:  # (B, count, C, size, size), uint8
            last = first + crops.shape[1]
            flat = moved(crops, self.device).transpose(0, 1).flatten(0, 1)
            numbers = batch.numbers[:, first:last].transpose(0, 1).flatten(0, 1)
            coloured = recolour(flat, numbers, self.mean, self.std, self.coloured_at_once).to(self.precise)
            views.append(coloured.contiguous(memory_format=memory_format(self.device)))
            first = last
        return _joined(views)

    def forward(self, views: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Embeddings (V, B, D) and scores (V, B, K) of each crop."""
        with autocast(self.device, self.recipe.training.precision):
            embeddings, scores = self.network(views)
        by_crop = (self.recipe.crop_count, -1)
        return embeddings.unflatten(0, by_crop), scores.unflatten(0, by_crop)

    def counted_once(self) -> AbstractContextManager[Any]:
        """Around a backward pass: blocks that it computes anew have counted the batch in their statistics already."""
        return statistics_put_back(self.model) if self.recipe.training.checkpoint_activations else nullcontext()

    def codes(self, embeddings: Tensor, scores: Tensor) -> Tensor:  # (A, B, D) and (A, B, K) -> (A, B, K)
        """Codes of the assigned crops, which are looked at for the run's health as well."""
        queue = self.queue if self.course.step >= self.plan.queue_from else None
        loss = self.recipe.loss
        prototypes = self.model.prototypes.weight.detach()
        codes = assign_codes(embeddings, prototypes, queue, self.epsilon, loss.sinkhorn_iterations)
        self.meter.add(embeddings, scores, codes, loss.temperature)
        return codes

    def backward_in_parts(self, parts: list[Batch]) -> Tensor:
        """Gradients of a batch that comes in several parts; its loss.

        Codes come from the whole batch: a first pass without gradient embeds it, a second one trains part by part.
        Every part is normalised by its own statistics, as on a process of its own. The first pass takes all crops,
        since the head's normalisation sees them together and codes would else differ from those of many processes.
        """
        assigned = self.recipe.assigned_crops
        embedded, scored = [], []
        with torch.no_grad(), statistics_left_alone(self.model):
            for part in parts:
                embeddings, scores = self.forward(self.views(part))
                embedded.append(chosen(embeddings, assigned))
                scored.append(chosen(scores, assigned))
        codes = self.codes(torch.cat(embedded, dim=1), torch.cat(scored, dim=1))
        total = torch.zeros((), device=self.device, dtype=self.precise)
        for number, (part, own) in enumerate(zip(parts, codes.chunk(len(parts), dim=1), strict=True), 1):
            last = number == len(parts)
            with nullcontext() if last else distributed.gradients_kept_back(self.network):
                _, scores = self.forward(self.views(part))
                loss = swapped_prediction(scores, own, assigned, self.recipe.loss.temperature) / len(parts)
                with self.counted_once():
                    loss.backward()
            total += loss.detach()
        return total

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


def make_epsilon(loss: LossRecipe) -> float | FollowingEpsilon:
    """How sharp codes are to be: alike throughout, as published, or as a share of the scores' spread."""
    if loss.epsilon_of_spread is None:
        return loss.epsilon
    return FollowingEpsilon(loss.epsilon, loss.epsilon_of_spread, loss.epsilon_least)


def gradient_norms(model: SwAV) -> dict[str, Tensor]:
    """Norms of the gradient: of all of it, of the backbone, of the head, of the prototypes; 0 where there is none."""
    named = [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None]
    norms = torch.stack(torch._foreach_norm([gradient for _, gradient in named]))
    found = {"all": norms}
    heads = {"head": "projection_head.", "prototypes": "prototypes."}
    whose = [next((part for part, start in heads.items() if name.startswith(start)), "backbone") for name, _ in named]
    for part in ("backbone", *heads):
        own = [norm for norm, other in zip(norms.unbind(), whose, strict=True) if other == part]
        found[part] = torch.stack(own) if own else norms.new_zeros(1)
    return {part: torch.linalg.vector_norm(each).float() for part, each in found.items()}


def _joined(views: list[Tensor]) -> list[Tensor]:
    """Neighbours of one size together, where a recipe has crops of one size and several scales; others as they are."""
    sizes = [list(alike) for _, alike in groupby(views, key=lambda view: view.shape[2:])]
    return [torch.cat(alike) if len(alike) > 1 else alike[0] for alike in sizes]


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


@contextmanager
def statistics_put_back(model: nn.Module) -> Iterator[None]:
    """After it, what batch normalisation keeps is what it was before, whatever has gone through the model meanwhile."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    kept = [buffer for norm in norms for buffer in norm.buffers()]
    by_type = [[buffer for buffer in kept if buffer.dtype == dtype] for dtype in {buffer.dtype for buffer in kept}]
    before = [torch.cat([buffer.flatten() for buffer in alike]) for alike in by_type]  # a launch, not one for each
    try:
        yield
    finally:
        for alike, flat in zip(by_type, before, strict=True):
            parts = flat.split([buffer.numel() for buffer in alike])
            torch._foreach_copy_(alike, [part.view(own.shape) for part, own in zip(parts, alike, strict=True)])

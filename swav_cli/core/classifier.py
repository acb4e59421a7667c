"""Training a classifier on a model: on frozen features (linear evaluation), or with the network (fine-tuning).

The state of a run, and its step. The loop, the order of pictures and their crops are those of pretraining.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swav_cli.core.multicrop import MultiCrop
from swav_cli.core.optimizer import make_optimizer
from swav_cli.core.photometric import recolour
from swav_cli.core.precision import autocast, full_precision, memory_format
from swav_cli.core.stages import POOLED, Stages
from swav_cli.core.train import Course, quickest_convolutions
from swav_cli.core.transfer import moved
from swav_cli.core.weights import About, Model
from swav_cli.data.pictures import Pictures, labels_digest
from swav_cli.data.reading.loader import Batch, load_batches
from swav_cli.errors import Diverged
from swav_cli.parallel import distributed
from swav_cli.parallel.synchronised_norm import with_synchronised_norms
from swav_cli.recipe.classifier_schema import FinetuneRecipe, LinearRecipe
from swav_cli.recipe.schema import settled
from swav_cli.recipe.sections import AugmentRecipe, CropRecipe
from swav_cli.run.metrics import Step

UNREAD = -100  # the label of a picture that could not be read: another stands in for it, whose class is its own


class ClassifierTrainer:
    """A classifier in training, and all that a checkpoint holds of it.

    Args:
        pretrained: its network is changed by fine-tuning alone.
        pictures: with labels.
        fingerprint: of model and pictures together: a checkpoint goes with both.
    """

    def __init__(
        self,
        recipe: LinearRecipe | FinetuneRecipe,
        pretrained: Model,
        pictures: Pictures,
        fingerprint: str,
        device: torch.device,
    ) -> None:
        assert pictures.labels is not None
        assert pictures.classes is not None
        self.recipe, self.pictures, self.device = recipe, pictures, device
        self.about = pretrained.about
        self.labels = torch.from_numpy(pictures.labels)
        self.classes = tuple(pictures.classes)
        self.course = Course(
            recipe.training, pictures, math.log(len(pictures.classes)), fingerprint, labels_digest(pictures)
        )
        self.finetunes = isinstance(recipe, FinetuneRecipe)
        precise = torch.float64 if recipe.training.precision == "float64" else torch.float32
        self.model = pretrained.network.to(device, precise).to(memory_format=memory_format(device)).eval()
        if isinstance(recipe, FinetuneRecipe):
            self.model = with_synchronised_norms(self.model, recipe.sync_batchnorm)
        self.stages = Stages(self.model, recipe.layers if isinstance(recipe, LinearRecipe) else [])
        self.heads = self._new_heads().to(device, precise)
        self.optimizer = self._new_optimizer()
        self.best: dict[str, Any] = {}  # the epoch that was best on the held-out pictures
        crop = CropRecipe(count=1, size=settled(recipe.crop.size), scale=recipe.crop.scale)
        augment = AugmentRecipe(flip=recipe.crop.flip, jitter=0, grayscale=0, blur=0)
        self.multicrop = MultiCrop([crop], augment, recipe.training.seed)
        self.mean, self.std = (torch.tensor(values, device=device) for values in (self.about.mean, self.about.std))

    def _new_heads(self) -> nn.ModuleDict:
        """A linear layer for each layer judged: weights normal with deviation 0.01, biases 0, as published."""
        sizes = self.stages.sizes(self.about.channels, self.about.size)
        # A module's name holds no dot.
        with torch.random.fork_rng(devices=[]):  # what a new layer draws is replaced below
            heads = {layer.replace(".", "_"): nn.Linear(size, len(self.classes)) for layer, size in sizes.items()}
        generator = torch.Generator().manual_seed(self.recipe.training.seed)
        for head in heads.values():
            nn.init.normal_(head.weight, std=0.01, generator=generator)
            nn.init.zeros_(head.bias)
        return nn.ModuleDict(heads)

    def _new_optimizer(self) -> torch.optim.Optimizer:
        settings = self.recipe.optimizer
        scale = settled(self.recipe.training.batch_size) / 256
        groups: list[dict[str, Any]] = [{"params": list(self.heads.parameters()), "peak": settings.lr * scale}]
        trained = {*self._trained_backbone()}
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in trained)
        if isinstance(self.recipe, FinetuneRecipe):
            own = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
            groups.append({"params": own, "peak": self.recipe.optimizer.backbone_lr * scale})
        return make_optimizer(settings, groups, 0.0)  # each group's rate is set before each step

    def _trained_backbone(self) -> list[str]:
        """Fine-tuning trains what leads to the features; head and prototypes take no part in them."""
        aside = ("projection_head.", "prototypes.", "fc.")
        return [name for name, _ in self.model.named_parameters() if self.finetunes and not name.startswith(aside)]

    # --- state -----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        weights, about = classifier_weights(*self._classifier_parts(), keep_head=not self.finetunes)
        return {
            **self.course.state(),
            "model": weights,
            "about": about.to_json(),
            "heads": self.heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": dict(self.best),
        }

    def restore(self, state: dict[str, Any]) -> None:
        if self.finetunes:
            # Older checkpoints hold the backbone once more. What is in neither takes no part in the features.
            trained = state.get("backbone") or _without(state["model"], "fc.")
            self.model.load_state_dict({**self.model.state_dict(), **trained})
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best = dict(state["best"])
        self.course.restore(state)

    def classifier(self) -> Model:
        """The network with the pooled features' classifier, on the CPU.

        After linear evaluation projection head and prototypes are still those of the backbone; after fine-tuning they
        belong to another one and are left out.
        """
        return with_classifier(*self._classifier_parts(), keep_head=not self.finetunes)

    def _classifier_parts(self) -> tuple[Model, nn.Module, tuple[str, ...]]:
        return Model(self.model, self.about), self.heads[POOLED], self.classes

    # --- the run ---------------------------------------------------------------------------------------------------

    def steps(self, workers: int) -> Generator[Step, None, None]:
        """Train from where the run is to its end, a step at a time; see `Trainer.steps`."""
        pin_memory = self.device.type == "cuda"
        batches = load_batches(self.pictures, self.multicrop, self.course.order(), workers, pin_memory)
        with quickest_convolutions(), closing(batches):
            while self.course.step < self.course.steps:
                # A frozen backbone stays in eval mode: its running statistics are part of what is judged.
                self.model.train(self.finetunes)
                parts = self.course.next_parts(batches)
                lr = self.lr(self.course.step)
                loss, norm = self.train_step(parts)
                yield self.course.taken(parts, loss, norm, lr)

    def lr(self, step: int) -> float:
        """Of the classifier."""
        return float(self.optimizer.param_groups[0]["peak"]) * self._share_of_rate(step)

    def _share_of_rate(self, step: int) -> float:
        return rate_share(step // self.course.steps_per_epoch, self.recipe.training.epochs, self.recipe.schedule)

    # --- one step --------------------------------------------------------------------------------------------------

    def pixels(self, batch: Batch) -> Tensor:  # -> (B, C, size, size), flipped and normalised
        crops = moved(batch.crops[0][:, 0], self.device)
        precise = next(self.heads.parameters()).dtype
        coloured = recolour(crops, batch.numbers[:, 0], self.mean, self.std).to(precise)
        return coloured.contiguous(memory_format=memory_format(self.device))

    def logits(self, x: Tensor) -> dict[str, Tensor]:
        """What each layer's classifier says of pictures (B, C, H, W): (B, classes)."""
        learns = self.finetunes and torch.is_grad_enabled()
        with torch.set_grad_enabled(learns), autocast(self.device, self.recipe.training.precision):
            features = self.stages(x)
        with full_precision(x.device):
            return {
                layer: self._head(layer)(values.to(next(self.heads.parameters()).dtype))
                for layer, values in features.items()
            }

    def _head(self, layer: str) -> nn.Module:
        return self.heads[layer.replace(".", "_")]

    def train_step(self, parts: list[Batch]) -> tuple[float, float]:
        """One step: the loss of the pooled features' classifier, and the norm of the whole gradient.

        Raises:
            Diverged: one of them is not finite; the weights are left as they were.
        """
        share = self._share_of_rate(self.course.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * share
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.device)
        for part in parts:
            losses = self._losses(part)
            (sum(losses.values(), torch.zeros((), device=self.device)) / len(parts)).backward()
            total += losses[POOLED].detach().float() / len(parts)
        loss = distributed.mean_over_processes(total)
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        distributed.average_gradients(trained)
        norm = nn.utils.get_total_norm([p.grad for p in trained if p.grad is not None])
        numbers = torch.stack([loss, norm.float()]).tolist()  # waits for all of the step
        if not all(map(math.isfinite, numbers)):
            raise Diverged(
                f"step {self.course.step}: the loss is {numbers[0]:g} and its gradient's norm {numbers[1]:g}, learning "
                f"rate {self.lr(self.course.step):g}. The last good checkpoint is kept; begin again with a lower "
                "--set optimizer.lr and --overwrite"
            )
        self.optimizer.step()
        if self.finetunes:
            distributed.average_running_statistics(self.model)
        self.course.step += 1
        return numbers[0], numbers[1]

    def _losses(self, part: Batch) -> dict[str, Tensor]:
        """Cross entropy of each layer's classifier in nats: the sum over the pictures read, by the part's size."""
        labels = self.labels[part.indices]
        unread = torch.tensor([index for index, _ in part.bad], dtype=torch.long)
        labels = torch.where(torch.isin(part.indices, unread), torch.tensor(UNREAD), labels).to(self.device)
        return {
            layer: F.cross_entropy(logits, labels, ignore_index=UNREAD, reduction="sum") / len(labels)
            for layer, logits in self.logits(self.pixels(part)).items()
        }


def rate_share(epoch: int, epochs: int, schedule: Any) -> float:
    """What part of the peak rate an epoch has: half a cosine to 0, or a drop at given epochs."""
    if schedule.drop_epochs:
        return float(schedule.drop_factor ** sum(epoch >= drop for drop in schedule.drop_epochs))
    return 0.5 * (1 + math.cos(math.pi * epoch / epochs))


def with_classifier(model: Model, head: nn.Module, classes: tuple[str, ...], *, keep_head: bool = True) -> Model:
    """A network of its own with a linear classifier on the pooled features; float32, on the CPU."""
    weights, described = classifier_weights(model, head, classes, keep_head=keep_head)
    with torch.random.fork_rng(devices=[]):  # built in the middle of a run, which goes on as if it had not been
        network = described.build()
    network.load_state_dict(weights)
    return Model(network, described)


def classifier_weights(
    model: Model, head: nn.Module, classes: tuple[str, ...], *, keep_head: bool = True
) -> tuple[dict[str, Tensor], About]:
    """The tensors of that network, which are the model's own and no copies, and its description."""
    described = replace(model.about, classes=classes)
    weights = _without(model.network.state_dict(), "fc.")
    if not keep_head:
        described = replace(described, embedding_dim=0, hidden_dim=0, prototypes=0, prototypes_bias=False)
        weights = _without(weights, "projection_head.", "prototypes.")
    return weights | {f"fc.{name}": tensor for name, tensor in head.state_dict().items()}, described


def _without(weights: dict[str, Tensor], *parts: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in weights.items() if not name.startswith(parts)}

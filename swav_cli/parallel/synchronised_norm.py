"""Batch normalisation over all processes, or over groups of them: the statistics are those of their joined batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from swav_cli.errors import UserError

Model = TypeVar("Model", bound=nn.Module)
BatchNorm = nn.modules.batchnorm._BatchNorm
PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)  # timm's own kinds do more, such as an activation


def with_synchronised_norms(model: Model, wanted: bool | int) -> Model:
    """The model with batch normalisation over all processes, or over neighbouring groups of so many.

    Raises:
        UserError: the processes do not divide into such groups, or a network of timm on a CPU.
    """
    world = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if wanted is False or world == 1:
        return model
    group = None
    if wanted is not True:
        if world % int(wanted):
            raise UserError(
                f"training.sync_batchnorm ({wanted}) does not divide the {world} processes; set it to true, to false, "
                "or to a number that does"
            )
        group, _ = dist.new_subgroups(int(wanted))
    richer = [m for m in model.modules() if isinstance(m, BatchNorm) and type(m) not in PLAIN]
    if next(model.parameters()).device.type == "cuda":
        if richer:
            from timm.layers import convert_sync_batchnorm  # type: ignore[attr-defined]

            convert: Callable[[Model, Any], Model] = convert_sync_batchnorm
            return convert(model, group)
        return nn.SyncBatchNorm.convert_sync_batchnorm(model, group)  # type: ignore[no-any-return]
    if richer:
        raise UserError(
            f"training.sync_batchnorm ({wanted}): {type(richer[0]).__name__} of this backbone is synchronised on GPUs "
            "alone; set it to false"
        )
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, BatchNorm):
                setattr(parent, name, SynchronisedNorm(child, group))
    return model


def is_synchronised(norm: nn.Module) -> bool:
    """Over all processes: a group's statistics are its own."""
    group = getattr(norm, "process_group", None)
    return isinstance(norm, (nn.SyncBatchNorm, SynchronisedNorm)) and group in (None, dist.group.WORLD)


class SynchronisedNorm(BatchNorm):
    """What `torch.nn.SyncBatchNorm` is on a GPU, on any device; takes the place of `like`, tensors and all."""

    def __init__(self, like: BatchNorm, process_group: Any) -> None:
        super().__init__(like.num_features, like.eps, like.momentum, like.affine, like.track_running_stats)
        self.process_group = process_group
        self.weight, self.bias = like.weight, like.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            setattr(self, name, getattr(like, name))

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002  (torch's name)
        """Any number of dimensions: the second one holds channels."""

    def forward(self, x: Tensor) -> Tensor:  # (B, C) or (B, C, H, W)
        if not self.training:
            return super().forward(x)
        others = [0, *range(2, x.dim())]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        # Every process has as many: batches are divided evenly.
        count = values.numel() // values.shape[1] * dist.get_world_size(self.process_group)
        mean = _Summed.apply(values.sum(dim=others), self.process_group) / count
        centred = values - mean.view(shape)
        variance = _Summed.apply(centred.square().sum(dim=others), self.process_group) / count
        if self.track_running_stats:
            self._keep(mean.detach(), variance.detach() * (count / (count - 1)))
        scale = self.weight * (variance + self.eps).rsqrt()
        normalised: Tensor = centred * scale.view(shape) + self.bias.view(shape)
        return normalised.to(x.dtype)

    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        weight = self.momentum if self.momentum is not None else 1 / int(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), weight)
        self.running_var.lerp_(variance.to(self.running_var.dtype), weight)


class _Summed(torch.autograd.Function):
    """A sum over processes. Its gradient is summed too: each process's loss depends on the values of all."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: Any) -> Tensor:
        ctx.group = group
        summed = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed, group=group)
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        summed = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed, group=ctx.group)
        return summed, None

"""LARS and learning-rate schedules, as the published SwAV uses them (arXiv 2006.09882, appendix A.1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from swav_cli.core.transfer import moved
from swav_cli.recipe.sections import OptimizerRecipe


class LARS(Optimizer):
    """SGD with momentum whose step is scaled, tensor by tensor, to the tensor's own size.

    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> weight.grad = torch.tensor([100.0, 0.0])
    >>> LARS([weight], lr=1.0).step()
    >>> weight.data    # moved by a thousandth of its length, whatever that of the gradient
    tensor([2.9950, 4.0000])

    For a tensor p with gradient g (arXiv 1708.03888, eq. 6):

        g <- (g + weight_decay p) * trust_coefficient |p| / (|g| + weight_decay |p|)
        v <- momentum v + g
        p <- p - lr v

    Where p or g is zero there is neither scaling nor decay, and a tensor without a gradient is left alone. All tensors
    of a step are worked on together, and nothing waits for the device.

    Args:
        params: tensors, or groups of them as any optimizer of torch takes them.
        lr: as it is; for a batch of other than 256 pictures it is scaled before.
        trust_coefficient: a step's part of a tensor's size, at lr 1.

    Raises:
        ValueError: a negative setting.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        eps: float = 1e-8,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "eps": eps,
        }
        for name, value in defaults.items():
            if value < 0:
                raise ValueError(f"LARS: {name} must not be negative, got {value}")
        super().__init__(params, defaults)
        self._kept_places: dict[tuple[int, ...], Tensor] = {}  # of a group; fewer while prototypes are frozen

    def _places(self, tensors: list[Tensor]) -> Tensor:
        """In which of the tensors each of their numbers stands; kept, since that takes longer than all else."""
        counts = tuple(each.numel() for each in tensors)
        if counts not in self._kept_places:
            numbers = torch.arange(len(counts), dtype=torch.int32)
            places = torch.repeat_interleave(numbers, torch.tensor(counts))
            self._kept_places[counts] = moved(places, tensors[0].device)
        return self._kept_places[counts]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient; what `closure`, which computes it anew, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._step_together(params, group)
        return loss

    def _step_together(self, params: list[Tensor], group: dict[str, Any]) -> None:
        # As lines of numbers: torch works on all tensors of a list at once where they lie alike in memory, and takes
        # the gradient of a convolution of 1x1 for one that lies otherwise than its weights.
        gradients = [_line(p.grad, p) for p in params if p.grad is not None]
        velocities = [self._velocity(p) for p in params]
        weights = [_line(p, p) for p in params]
        decay = group["weight_decay"]
        scales = _trust_ratios(weights, gradients, decay, group["trust_coefficient"], group["eps"])
        updates = list(torch._foreach_add(gradients, weights, alpha=decay))
        # By tensors of one number torch would multiply one after another, a kernel each; by tensors alike, together.
        spread = scales.index_select(0, self._places(updates)).split([each.numel() for each in updates])
        torch._foreach_mul_(updates, list(spread))
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, updates)
        torch._foreach_add_(weights, velocities, alpha=-group["lr"])

    def _velocity(self, p: Tensor) -> Tensor:
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        elif state["momentum_buffer"].stride() != p.stride():  # of a run that went on from another device
            state["momentum_buffer"] = torch.empty_like(p).copy_(state["momentum_buffer"])
        return _line(state["momentum_buffer"], p)


def _line(values: Tensor, like: Tensor) -> Tensor:
    """The numbers of a tensor in the order in which those of another lie in memory: a view where they lie so too."""
    line = values.permute(sorted(range(like.dim()), key=like.stride, reverse=True))
    return line.view(-1) if values.stride() == like.stride() else line.reshape(-1)


def _trust_ratios(
    params: list[Tensor], gradients: list[Tensor], weight_decay: float, trust_coefficient: float, eps: float
) -> Tensor:  # (N,)
    """By what each tensor's gradient, with its decay, is scaled."""
    sizes = torch.stack(torch._foreach_norm(params))
    slopes = torch.stack(torch._foreach_norm(gradients))
    ratio = trust_coefficient * sizes / (slopes + weight_decay * sizes + eps)
    unscaled = (slopes > 0).to(ratio)  # where there is no gradient, its decay is taken out too
    return torch.where((sizes > 0) & (slopes > 0), ratio, unscaled)


def make_optimizer(settings: OptimizerRecipe, params: Iterable[Any], lr: float) -> Optimizer:
    """`lars`, `sgd` (Nesterov off) or `adamw` over parameters or groups of them, decay on every one as published.

    >>> settings = OptimizerRecipe(name="sgd", lr=0.1)
    >>> make_optimizer(settings, [torch.nn.Parameter(torch.ones(2))], lr=0.4).defaults["momentum"]
    0.9

    Args:
        lr: of the whole batch; that of the settings is per 256 pictures.
    """
    momentum, weight_decay = settings.momentum, settings.weight_decay
    if settings.name == "lars":
        return LARS(params, lr, momentum, weight_decay, settings.trust_coefficient)
    if settings.name == "sgd":
        return torch.optim.SGD(params, lr, momentum, weight_decay=weight_decay)
    return torch.optim.AdamW(params, lr, betas=(momentum, 0.999), weight_decay=weight_decay)


def learning_rate(
    step: int, total_steps: int, warmup_steps: int, peak: float, final: float, warmup_from: float
) -> float:
    """The rate of a step: a straight line from `warmup_from` to `peak`, then half a cosine to `final`.

    >>> [round(learning_rate(step, 8, 3, peak=1.0, final=0.0, warmup_from=0.0), 2) for step in range(8)]
    [0.0, 0.5, 1.0, 1.0, 0.9, 0.65, 0.35, 0.1]

    The last warm-up step has the peak itself, and so has the first step of the cosine, as in the published code.
    """
    if step < warmup_steps:
        share = step / (warmup_steps - 1) if warmup_steps > 1 else 0.0
        return warmup_from + (peak - warmup_from) * share
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return final + 0.5 * (peak - final) * (1 + math.cos(math.pi * progress))

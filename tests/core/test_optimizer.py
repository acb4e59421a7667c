from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from swav_cli import LARS
from swav_cli.core.optimizer import learning_rate, make_optimizer
from swav_cli.recipe.sections import OptimizerRecipe
from tests.conftest import drawn, reference


@pytest.mark.parametrize("case", ["a", "b"])
def test_lars_agrees_with_the_published_code(case: str) -> None:
    """The reference's `g..` are gradients after LARC has scaled them in place; what went in is drawn by name."""
    numbers = reference(f"larc_{case}")
    weight_decay, momentum, steps, trust = numbers["params"]
    count = sum(key[0] == "p" and key[1:].isdigit() for key in numbers)
    params = [nn.Parameter(torch.tensor(numbers[f"p{i}"])) for i in range(count)]
    optimizer = LARS(params, 0.5, momentum, weight_decay, trust)
    for step in range(int(steps)):
        optimizer.param_groups[0]["lr"] = 0.5 * (step + 1)
        for i, param in enumerate(params):
            scaled = numbers.get(f"g{i}_step{step}")
            if scaled is None:
                param.grad = None
            else:
                alive = 1.0 if scaled.any() else 0.0
                param.grad = torch.tensor(alive * drawn(f"{case}g{step}{i}", param.shape))
        optimizer.step()
        for i, param in enumerate(params):
            np.testing.assert_allclose(param.detach(), numbers[f"p{i}_after{step}"], rtol=1e-8, atol=1e-12)


def slow_lars(p, g, v, lr, momentum, weight_decay, trust):  # type: ignore[no-untyped-def]
    size, slope = p.norm(), g.norm()
    if size > 0 and slope > 0:
        g = (g + weight_decay * p) * trust * size / (slope + weight_decay * size + 1e-8)
    v = momentum * v + g
    return p - lr * v, v


@pytest.mark.parametrize("weight_decay", [0.0, 1e-6, 0.1])
def test_lars_agrees_with_the_slow_form(weight_decay: float) -> None:
    torch.manual_seed(0)
    starts = [torch.randn(4, 3).double(), torch.randn(5).double(), torch.zeros(3).double()]
    params = [nn.Parameter(start.clone()) for start in starts]
    optimizer = LARS(params, 0.3, 0.9, weight_decay, 0.01)
    slow = [(start, torch.zeros_like(start)) for start in starts]
    for _ in range(4):
        gradients = [torch.randn_like(start) for start in starts]
        for param, gradient in zip(params, gradients, strict=True):
            param.grad = gradient.clone()
        optimizer.step()
        slow = [slow_lars(p, g, v, 0.3, 0.9, weight_decay, 0.01) for (p, v), g in zip(slow, gradients, strict=True)]
    for param, (expected, _) in zip(params, slow, strict=True):
        torch.testing.assert_close(param.detach(), expected, rtol=1e-12, atol=1e-14)


def test_lars_leaves_the_gradients_and_untouched_tensors_alone() -> None:
    with_gradient, without = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))
    with_gradient.grad = torch.full((3,), 2.0)
    optimizer = LARS([with_gradient, without], 0.1)
    optimizer.step()
    assert torch.equal(with_gradient.grad, torch.full((3,), 2.0))
    assert torch.equal(without, torch.ones(2))
    assert without not in optimizer.state


def test_lars_state_goes_through_a_checkpoint() -> None:
    def run(restart: bool) -> torch.Tensor:
        torch.manual_seed(0)
        param = nn.Parameter(torch.randn(6))
        optimizer = LARS([param], 0.5)
        for step in range(4):
            if restart and step == 2:
                state, optimizer = optimizer.state_dict(), LARS([param], 0.5)
                optimizer.load_state_dict(state)
            param.grad = torch.full((6,), float(step + 1))
            optimizer.step()
        return param.detach()

    assert torch.equal(run(False), run(True))


def test_lars_is_the_same_however_tensors_lie_in_memory() -> None:
    """Convolutions' weights with channels last, a gradient that lies otherwise, and a velocity of another device's."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(6, 4, 3, 3), (8, 4, 1, 1), (5, 3), (7,), ()]
    plain = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    last = [
        torch.nn.Parameter(
            p.detach().clone(memory_format=torch.channels_last if p.dim() == 4 else torch.preserve_format)
        )
        for p in plain
    ]
    optimizers = [LARS(each, lr=0.3, weight_decay=0.1) for each in (plain, last)]
    for step in range(3):
        for p, q in zip(plain, last, strict=True):
            p.grad = torch.randn(p.shape, generator=generator)
            q.grad = p.grad.clone()
        if step == 2:
            optimizers[1].load_state_dict(deepcopy(optimizers[0].state_dict()))
        for optimizer in optimizers:
            optimizer.step()
        for p, q in zip(plain, last, strict=True):
            torch.testing.assert_close(q, p, rtol=1e-6, atol=1e-7)
    assert last[0].is_contiguous(memory_format=torch.channels_last)


def test_lars_runs_a_closure() -> None:
    param = nn.Parameter(torch.ones(1))
    optimizer = LARS([param], 0.1)

    def closure() -> float:
        loss = (param**2).sum()
        loss.backward()
        return float(loss.detach())

    assert optimizer.step(closure) == 1.0


@pytest.mark.parametrize("setting", ["lr", "momentum", "weight_decay", "trust_coefficient"])
def test_lars_refuses_negative_settings(setting: str) -> None:
    with pytest.raises(ValueError, match=setting):
        LARS([nn.Parameter(torch.ones(1))], **{"lr": 0.1, setting: -1.0})


@pytest.mark.parametrize(("name", "kind"), [("lars", LARS), ("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_optimizers_by_name(name: str, kind: type) -> None:
    settings = OptimizerRecipe.model_validate({"name": name, "lr": 0.2, "momentum": 0.8, "weight_decay": 1e-4})
    optimizer = make_optimizer(settings, [nn.Parameter(torch.ones(1))], 0.1)
    assert type(optimizer) is kind
    group = optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.1, 1e-4)
    assert (group["betas"][0] if name == "adamw" else group["momentum"]) == 0.8


@pytest.mark.parametrize("case", ["a", "b"])
def test_schedule_agrees_with_the_published_code(case: str) -> None:
    numbers = reference("schedule")
    base, final, warmup, epochs, per_epoch, start = numbers[f"{case}_params"]
    steps, warmup_steps = int(epochs * per_epoch), int(warmup * per_epoch)
    rates = [learning_rate(step, steps, warmup_steps, base, final, start) for step in range(steps)]
    np.testing.assert_allclose(rates, numbers[case], rtol=1e-12)


def test_schedule_of_one_warm_up_step_and_of_a_warm_up_as_long_as_the_run() -> None:
    assert learning_rate(0, 10, 1, 1.0, 0.0, 0.25) == 0.25
    assert learning_rate(1, 10, 1, 1.0, 0.0, 0.25) == 1.0
    assert all(math.isfinite(learning_rate(step, 5, 5, 1.0, 0.0, 0.0)) for step in range(6))

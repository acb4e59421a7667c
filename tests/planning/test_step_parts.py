"""What a step asks of torch is counted: operators, floating-point operations, bytes."""

from __future__ import annotations

import torch

from swav_cli.planning.micro_batch import MadeUp, at_its_fullest, made_up_batch
from swav_cli.planning.step_parts import PARTS, _Traffic, counts_of_step, seconds_of_parts
from swav_cli.planning.timing import laps, median_seconds
from tests.conftest import tiny_recipe

CPU = torch.device("cpu")


def test_bytes_that_operators_read_and_write() -> None:
    left, right = torch.ones(4, 8), torch.ones(8, 2)  # 128 and 64 bytes
    with _Traffic() as traffic:
        (left @ right).relu_()  # 128 + 64 + 32, then 32 + 32
        left.t()
        torch.empty(1000)
        torch._foreach_mul_([left, right], 2.0)  # 2 x 192, and nothing is given back
    assert traffic.bytes == 224 + 64 + 192
    assert traffic.operators == 5


def test_a_step_is_counted_whole() -> None:
    recipe = tiny_recipe()
    trainer = at_its_fullest(recipe, MadeUp(48), CPU)
    one, two = ([made_up_batch(recipe, count)] for count in (4, 8))
    few, many = counts_of_step(trainer, one), counts_of_step(trainer, two)
    assert 1.9 < many.flops / few.flops < 2.01  # the queue's scores are no more for more pictures
    assert many.bytes > few.bytes > 4 * sum(each.numel() for each in trainer.model.parameters())
    assert (many.kernels, many.waits, many.busy_seconds) == (0, 0, 0.0)
    weights = trainer.model.prototypes.weight.clone()
    assert set(seconds_of_parts(trainer, two[0], 0.0)) == set(PARTS)
    assert torch.equal(trainer.model.prototypes.weight, weights)  # at a learning rate of zero


def test_work_is_timed_so_often_or_so_long_and_once_in_any_case() -> None:
    done: list[int] = []
    assert len(laps(lambda: done.append(1), CPU, most=3)) == len(done) == 3
    assert len(laps(lambda: done.append(1), CPU, most=3, seconds=0.0)) == 1
    assert median_seconds(lambda: None, CPU, 3) >= 0

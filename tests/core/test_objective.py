from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from swav_cli.core.objective import Queue, assign_codes, swapped_prediction
from swav_cli.core.sinkhorn import sinkhorn
from tests.conftest import reference


@pytest.mark.parametrize("name", ["swapped_noqueue", "swapped_queue"])
def test_loss_gradients_and_queue_agree_with_the_published_code(name: str) -> None:
    numbers = reference(name)
    views, batch, dim, prototypes_count, temperature, epsilon, iterations, length = numbers["params"]
    views, batch, dim, length = int(views), int(batch), int(dim), int(length)
    assigned = numbers["assign"].tolist()
    queue = Queue(len(assigned), length, dim).double() if length else None
    steps = sum(key.startswith("loss") for key in numbers)
    assert steps >= 2
    for step in range(steps):
        embeddings = torch.tensor(numbers[f"embeddings{step}"], requires_grad=True)
        prototypes = torch.tensor(numbers["prototypes"], requires_grad=True)
        assert len(prototypes) == prototypes_count
        scores = (embeddings @ prototypes.T).unflatten(0, (views, batch))
        own = embeddings.detach().unflatten(0, (views, batch))[assigned]
        codes = assign_codes(own, prototypes.detach(), queue, epsilon, int(iterations))
        loss = swapped_prediction(scores, codes, assigned, temperature)
        loss.backward()
        np.testing.assert_allclose(loss.item(), numbers[f"loss{step}"], rtol=1e-10)
        np.testing.assert_allclose(embeddings.grad, numbers[f"grad_embeddings{step}"], atol=1e-12)
        np.testing.assert_allclose(prototypes.grad, numbers[f"grad_prototypes{step}"], atol=1e-12)
        if queue is not None:
            np.testing.assert_array_equal(queue.embeddings, numbers[f"queue{step}"])


def slow_loss(scores: torch.Tensor, codes: torch.Tensor, assigned: list[int], temperature: float) -> float:
    """Every pair of crops and every picture in turn (eq. 2 of the paper)."""
    views, batch, _ = scores.shape
    terms = []
    for code, source in zip(codes, assigned, strict=True):
        for view in range(views):
            if view == source:
                continue
            for picture in range(batch):
                p = torch.softmax(scores[view, picture] / temperature, dim=0)
                terms.append(-float((code[picture] * p.log()).sum()))
    return sum(terms) / len(terms)


@pytest.mark.parametrize(("views", "assigned"), [(2, [0, 1]), (2, [0]), (5, [0, 1]), (4, [3, 1, 0])])
def test_loss_agrees_with_the_slow_form(views: int, assigned: list[int]) -> None:
    torch.manual_seed(0)
    scores = torch.rand(views, 3, 6, dtype=torch.float64)
    codes = torch.stack([sinkhorn(scores[view]) for view in assigned])
    loss = swapped_prediction(scores, codes, assigned, 0.1)
    assert float(loss) == pytest.approx(slow_loss(scores, codes, assigned, 0.1), rel=1e-12)


def test_equal_scores_give_ln_k() -> None:
    scores = torch.zeros(2, 8, 50)
    codes = torch.stack([sinkhorn(scores[0]), sinkhorn(scores[1])])
    assert float(swapped_prediction(scores, codes, [0, 1], 0.1)) == pytest.approx(math.log(50), rel=1e-6)


def test_a_queue_joins_once_it_is_full_and_not_before() -> None:
    torch.manual_seed(0)
    prototypes = torch.nn.functional.normalize(torch.randn(6, 4, dtype=torch.float64), dim=1)
    batches = [torch.nn.functional.normalize(torch.randn(1, 3, 4, dtype=torch.float64), dim=2) for _ in range(5)]
    queue = Queue(1, 8, 4).double()  # no multiple of the batch of 3
    for number, batch in enumerate(batches):
        alone = assign_codes(batch, prototypes, None, 0.05, 3)
        joined = assign_codes(batch, prototypes, queue, 0.05, 3)
        assert torch.equal(alone, joined) == (number < 3)
    newest_first = torch.cat([batches[4][0], batches[3][0], batches[2][0]])[:8]
    assert torch.equal(queue.embeddings[0], newest_first)


def test_codes_with_a_full_queue_are_those_of_the_joined_batch() -> None:
    torch.manual_seed(1)
    prototypes = torch.nn.functional.normalize(torch.randn(6, 4, dtype=torch.float64), dim=1)
    old, new = (torch.nn.functional.normalize(torch.randn(1, n, 4, dtype=torch.float64), dim=2) for n in (8, 3))
    queue = Queue(1, 8, 4).double()
    queue.push(old)
    codes = assign_codes(new, prototypes, queue, 0.05, 3)
    together = sinkhorn(torch.cat([old[0], new[0]]) @ prototypes.T, 0.05, 3)[-3:]
    torch.testing.assert_close(codes[0], together, rtol=0, atol=1e-14)


def test_a_batch_larger_than_the_queue_leaves_its_newest_rows() -> None:
    queue = Queue(1, 2, 1)
    queue.push(torch.arange(5.0).view(1, 5, 1))
    assert queue.embeddings.flatten().tolist() == [0, 1]
    assert queue.is_full


def test_the_queue_is_part_of_the_state() -> None:
    queue, restored = Queue(2, 4, 3), Queue(2, 4, 3)
    queue.push(torch.rand(2, 4, 3))
    restored.take_share(queue.whole(share=4), share=4)
    assert restored.is_full
    assert torch.equal(queue.embeddings, restored.embeddings)

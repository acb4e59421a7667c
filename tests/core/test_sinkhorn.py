from __future__ import annotations

import numpy as np
import pytest
import torch

from swav_cli import sinkhorn
from swav_cli.core.sinkhorn import FollowingEpsilon, spread
from tests.conftest import reference


def slow_sinkhorn(scores: np.ndarray, epsilon: float, iterations: int) -> np.ndarray:
    """The algorithm as the paper's appendix lists it, with K x B matrices and plain sums."""
    q = np.exp(scores.T / epsilon)
    q /= q.sum()
    prototypes, pictures = q.shape
    for _ in range(iterations):
        q /= prototypes * q.sum(axis=1, keepdims=True)
        q /= pictures * q.sum(axis=0, keepdims=True)
    return (q * pictures).T


@pytest.mark.parametrize("case", range(4))
def test_agrees_with_the_published_code(case: int) -> None:
    numbers = reference("sinkhorn")
    epsilon, iterations = numbers[f"params{case}"]
    codes = sinkhorn(torch.tensor(numbers[f"scores{case}"]).double(), float(epsilon), int(iterations))
    np.testing.assert_allclose(codes.numpy(), numbers[f"codes{case}"], rtol=1e-9)


@pytest.mark.parametrize(("pictures", "prototypes"), [(1, 1), (1, 7), (7, 1), (5, 40), (64, 30)])
def test_agrees_with_the_slow_form(pictures: int, prototypes: int) -> None:
    scores = np.random.default_rng(pictures).uniform(-1, 1, (pictures, prototypes))
    codes = sinkhorn(torch.tensor(scores), 0.1, 4)
    np.testing.assert_allclose(codes.numpy(), slow_sinkhorn(scores, 0.1, 4), rtol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("epsilon", [0.01, 0.03, 0.05, 1.0])
def test_rows_sum_to_one_at_extreme_scores(dtype: torch.dtype, epsilon: float) -> None:
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (64, 30), generator=generator) * 2.0 - 1
    signs[0], signs[1] = -1, 1  # a picture far from every prototype, and one near to all
    codes = sinkhorn(signs.to(dtype), epsilon, 3)
    assert codes.isfinite().all()
    assert codes.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(64, dtype=codes.dtype), rtol=0, atol=1e-5)


def test_many_iterations_use_all_prototypes_equally() -> None:
    codes = sinkhorn(torch.rand(60, 12, dtype=torch.float64), 0.05, 500)
    torch.testing.assert_close(codes.sum(dim=0), torch.full((12,), 5.0, dtype=torch.float64), rtol=1e-6, atol=0)


def test_a_shift_of_all_scores_changes_nothing() -> None:
    scores = torch.rand(20, 10, dtype=torch.float64)
    torch.testing.assert_close(sinkhorn(scores), sinkhorn(scores + 3))


def test_autocast_does_not_reach_it() -> None:
    scores = torch.rand(20, 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = sinkhorn(scores)
    torch.testing.assert_close(inside, sinkhorn(scores), rtol=0, atol=0)


def test_gives_no_gradient() -> None:
    assert not sinkhorn(torch.rand(4, 3, requires_grad=True)).requires_grad


@pytest.mark.parametrize(("epsilon", "iterations"), [(0, 3), (-1, 3), (0.05, 0)])
def test_refuses_what_has_no_meaning(epsilon: float, iterations: int) -> None:
    with pytest.raises(ValueError, match="epsilon > 0"):
        sinkhorn(torch.rand(4, 3), epsilon, iterations)


def test_spread_is_what_sinkhorn_does_not_remove() -> None:
    torch.manual_seed(0)
    scores = torch.randn(50, 8)
    shifted = scores + torch.randn(50, 1) + torch.randn(1, 8)
    torch.testing.assert_close(spread(shifted), spread(scores))
    torch.testing.assert_close(sinkhorn(shifted, 0.5, 50), sinkhorn(scores, 0.5, 50))
    assert spread(torch.randn(50, 1) + torch.randn(1, 8)).item() == pytest.approx(0, abs=1e-6)


def test_codes_of_an_epsilon_that_follows_are_as_sharp_at_any_spread() -> None:
    scores = torch.randn(2, 50, 8, dtype=torch.float64) * 0.1
    scores[1] *= 0.3  # each crop has a spread of its own
    following = FollowingEpsilon(most=0.05, share=0.2, least=1e-6)
    for size in (1.0, 0.1, 0.01):
        codes = sinkhorn(scores * size, following.of(scores * size))
        for crop in (0, 1):
            by_hand = 0.2 * float(spread(scores[crop]))
            torch.testing.assert_close(codes[crop], sinkhorn(scores[crop], by_hand))


def test_an_epsilon_that_follows_stays_between_its_bounds() -> None:
    scores = torch.randn(50, 8)
    following = FollowingEpsilon(most=0.05, share=0.2, least=0.01)
    assert following.of(scores * 10).item() == pytest.approx(0.05)
    assert following.of(scores * 1e-6).item() == pytest.approx(0.01)

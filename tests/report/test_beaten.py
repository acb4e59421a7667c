"""What is said of features that are better than none, and of those that are not."""

from __future__ import annotations

from typing import Any

import pytest

from swav_cli.report.beaten import describe_worth

GOOD = {"loss_over_ln_k": 0.5, "pictures": 5000, "advice": None}


def of(learnt: float, untrained: float, pixels: float | None = None, **more: Any) -> dict[str, Any]:
    raw = {} if pixels is None else {"knn_raw_pixels": pixels}
    return {**GOOD, "knn": learnt, "knn_untrained": untrained, **raw, **more}


@pytest.mark.parametrize(
    ("results", "steps", "said"),
    [
        (of(60, 30, 40), 5000, "the features beat the untrained network and raw pixels"),
        (of(60, 30), 5000, "the features beat the untrained network"),
        (of(30.5, 30, 40, loss_over_ln_k=0.97), 5000,
         "the features don't beat the untrained network and raw pixels: the loss has hardly fallen (0.97 of ln K)"),
        (of(35, 30, 40), 5000, "the features don't beat raw pixels, though the untrained network: colour and layout"),
        (of(35, 30, 40, pictures=60), 90, "few (--minutes or --epochs give more); 60 pictures are few"),
        (of(35, 40, advice="flat"), 90, "the features don't beat the untrained network: the run is in trouble"),
    ],
)  # fmt: skip
def test_it_says_whether_and_why_not(results: dict[str, Any], steps: int, said: str) -> None:
    assert said in str(describe_worth(results, steps))


def test_without_labels_no_more_is_claimed_than_is_known() -> None:
    found = {**GOOD, "found_again": 80.0, "found_again_untrained": 20.0, "found_again_raw_pixels": 10.0}
    assert "at telling pictures apart; whether they tell kinds apart" in str(describe_worth(found, 5000))
    assert describe_worth(GOOD, 5000) is None

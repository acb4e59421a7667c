"""Whether what a run has learnt is better than what was there without it, in words, and else why that may be."""

from __future__ import annotations

from typing import Any, NamedTuple

FLAT_LOSS = 0.9  # of ln K, from which on little has been learnt yet
FEW_PICTURES = 500
FEW_STEPS = 2000
UNKNOWN = " at telling pictures apart; whether they tell kinds apart, labelled pictures would show (data.val)"
BY_A_HAIR = 1.0  # per cent, within which two numbers are the same


class Measure(NamedTuple):
    """Numbers of a run's results by which features are compared, per cent."""

    key: str
    short: str
    name: str = ""  # as one says it, where the short one needs it


KNN = Measure("knn", "k-NN")
FOUND_AGAIN = Measure("found_again", "found", " of pictures found again by another crop")


def measure_of(results: dict[str, Any]) -> Measure | None:
    """By labels where there were some; None where nothing was judged."""
    return next((measure for measure in (KNN, FOUND_AGAIN) if measure.key in results), None)


def describe_numbers(results: dict[str, Any], measure: Measure) -> str:
    raw = results.get(f"{measure.key}_raw_pixels")
    beside = f", raw pixels {raw:.1f} %" if raw is not None else ""
    learnt, untrained, start = (results.get(measure.key + ending) for ending in ("", "_untrained", "_start"))
    beside += f", weights it began with {start:.1f} %" if start is not None else ""
    return f"learnt {learnt:.1f} %{measure.name}{beside}, untrained network {untrained:.1f} %"


def describe_worth(results: dict[str, Any], steps: int) -> str | None:
    """What the numbers say of the features; None where nothing was judged.

    >>> print(describe_worth({"knn": 88.1, "knn_untrained": 30.1, "knn_raw_pixels": 36.0}, steps=390))
    the features beat the untrained network and raw pixels
    >>> print(describe_worth({"knn": 30.0, "knn_untrained": 30.1, "loss_over_ln_k": 0.7}, steps=36))
    the features don't beat the untrained network: 36 steps are few (--minutes or --epochs give more)

    Args:
        steps: of the run.
    """
    measure = measure_of(results)
    if measure is None:
        return None
    others = {"the untrained network": "_untrained", "the weights it began with": "_start", "raw pixels": "_raw_pixels"}
    there = {name: results[key] for name, ending in others.items() if (key := measure.key + ending) in results}
    better = [name for name, value in there.items() if results[measure.key] > value + BY_A_HAIR]
    if len(better) == len(there):
        return f"the features beat {_listed(list(there))}{'' if measure is KNN else UNKNOWN}"
    worse = _listed([name for name in there if name not in better])
    but = f", though {_listed(better)}" if better else ""
    return f"the features don't beat {worse}{but}: {'; '.join(_why(results, steps, worse))}"


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _why(results: dict[str, Any], steps: int, worse: str) -> list[str]:
    """The likeliest reasons first."""
    if results.get("advice"):
        return ["the run is in trouble, see health"]
    found = []
    if results.get("loss_over_ln_k", 0.0) > FLAT_LOSS:
        found.append(f"the loss has hardly fallen ({results['loss_over_ln_k']:.2f} of ln K)")
    if steps < FEW_STEPS:
        found.append(f"{steps:,} steps are few (--minutes or --epochs give more)")
    if results.get("pictures", FEW_PICTURES) < FEW_PICTURES:
        found.append(f"{results['pictures']} pictures are few")
    if worse == "raw pixels" and not found:
        found.append(
            "colour and layout tell these pictures apart, and training makes features that look away from both"
        )
    return found or ["the crops may not share what matters; try a larger crops.0.scale, or another augmentation"]

"""A model judged by a linear classifier on its frozen features: what `swav linear-eval` does.

>>> from swav_cli.tasks.recipes import linear_recipe
>>> recipe = linear_recipe("runs/quickstart", overrides=["data.train=photos/"])
>>> linear_eval(recipe, cached=True)["run"]
'runs/quickstart-linear-small-cached'
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swav_cli.errors import UserError
from swav_cli.recipe.classifier_schema import LinearRecipe
from swav_cli.report.console import Screen
from swav_cli.tasks.classifier import train_classifier
from swav_cli.tasks.linear_eval_cached import probe_classifier


def linear_eval(
    recipe: LinearRecipe,
    out: str | Path | None = None,
    *,
    cached: bool = False,
    device: str = "auto",
    resume: bool = True,
    overwrite: bool = False,
    track: Sequence[str] | None = None,
    screen: Screen | None = None,
) -> dict[str, Any]:
    """Train the classifier and judge it; what `results.json` holds.

    Args:
        cached: compute features once and try the recipe's grid on them, in place of training on fresh crops.

    The other arguments and what is raised are those of `train_classifier`.
    """
    if not cached:
        return train_classifier(
            recipe, out, device=device, resume=resume, overwrite=overwrite, track=track, screen=screen
        )
    if track:
        raise UserError("cached and track: there are no steps to tell of; `swav track RUN --to NAME` tells the results")
    return probe_classifier(recipe, out, device=device, resume=resume, overwrite=overwrite, screen=screen)

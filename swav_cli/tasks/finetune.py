"""A model trained further with labels, the backbone too: what `swav finetune` does.

>>> from swav_cli.tasks.recipes import finetune_recipe
>>> settings = ["data.train=photos/", "training.epochs=1", "training.batch_size=8"]
>>> finetune(finetune_recipe("runs/quickstart", overrides=settings))["run"]
'runs/quickstart-finetune-small'
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swav_cli.recipe.classifier_schema import FinetuneRecipe
from swav_cli.report.console import Screen
from swav_cli.tasks.classifier import train_classifier


def finetune(
    recipe: FinetuneRecipe,
    out: str | Path | None = None,
    *,
    device: str = "auto",
    resume: bool = True,
    overwrite: bool = False,
    track: Sequence[str] | None = None,
    screen: Screen | None = None,
) -> dict[str, Any]:
    """Train the whole network and judge it; arguments, what is returned and what is raised as of `train_classifier`."""
    return train_classifier(recipe, out, device=device, resume=resume, overwrite=overwrite, track=track, screen=screen)

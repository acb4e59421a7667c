"""What a run will do and need, before it is begun: what `--dry-run` prints."""

from __future__ import annotations

import math
from typing import Any

from swav_cli.core.estimate import estimate
from swav_cli.core.plan import make_plan
from swav_cli.errors import counted
from swav_cli.planning.derive import Derived, derived_facts
from swav_cli.recipe.file import dump_values
from swav_cli.recipe.schema import Recipe, settled
from swav_cli.report.console import describe_learning_rate, describe_objective
from swav_cli.report.words import size


def plan_facts(recipe: Recipe, derived: list[Derived], pictures: int, device: str) -> dict[str, Any]:
    """The settled recipe, its steps and its needs, as plain values."""
    plan, needs = make_plan(recipe, pictures), estimate(recipe)
    return {
        "recipe": recipe.model_dump(mode="json"),
        "derived": derived_facts(derived),
        "device": device,
        "pictures": pictures,
        "steps_per_epoch": plan.steps_per_epoch,
        "steps": plan.steps,
        "objective": describe_objective(recipe),
        "learning_rate": describe_learning_rate(recipe, plan),
        "ln_k": math.log(settled(recipe.model.prototypes)),
        "parameters": needs.parameters,
        "backbone_parameters": needs.backbone_parameters,
        "memory_bytes": needs.weights_bytes + needs.activations_bytes,
        "memory_weights_bytes": needs.weights_bytes,
        "memory_activations_bytes": needs.activations_bytes,
    }


def plan_text(facts: dict[str, Any]) -> str:
    """The settled recipe as a file, with what it will do as comments; of SwAV or of a classifier."""
    lines = facts["plan"] if "plan" in facts else _pretraining_lines(facts)
    return "\n".join([dump_values(facts["recipe"]).rstrip(), "", *(f"# {line.strip()}" for line in lines)])


def _pretraining_lines(facts: dict[str, Any]) -> list[str]:
    return [
        *(f"{key} = {Derived(key, **value).told}: {value['reason']}" for key, value in facts["derived"].items()),
        f"{counted(facts['pictures'], 'picture')} on {facts['device']}, "
        f"{counted(facts['steps_per_epoch'], 'step')} an epoch, {facts['steps']:,} in all",
        *facts["objective"],
        facts["learning_rate"],
        f"loss begins {'above' if facts['objective'] else 'at'} ln K = {facts['ln_k']:.3f}",
        f"{facts['parameters']:,} parameters, {facts['backbone_parameters']:,} of them in the backbone",
        f"about {size(facts['memory_bytes'])} of memory: {size(facts['memory_weights_bytes'])} for weights, "
        f"gradients and optimiser, {size(facts['memory_activations_bytes'])} for activations",
    ]

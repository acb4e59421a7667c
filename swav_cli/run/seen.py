"""What a process sees of a run's files, in words that differ where they do; see `refuse_disagreement`."""

from __future__ import annotations

from typing import Any

from swav_cli.data.pictures import Pictures, digest
from swav_cli.recipe.file import AnyRecipe, values_learnt_from


def recipe_seen(recipe: AnyRecipe) -> dict[str, Any]:
    """A settled recipe's values as what is seen: `auto` may come to something else on another machine."""
    return values_learnt_from(recipe)


def checkpoint_seen(state: dict[str, Any] | None) -> str:
    return f"step {state['step']} on pictures {state['fingerprint'][:8]}" if state is not None else "none"


def pictures_seen(name: str, pictures: Pictures | None) -> dict[str, str]:
    """Pictures as what is seen.

    Args:
        name: what they are here for.
    """
    if pictures is None:
        return {}
    known = digest([pictures.fingerprint(), *pictures.contents()])
    return {f"pictures {name}": f"{len(pictures):,} pictures, fingerprint {known[:8]}"}

"""Published models, and all of one model, as plain values. Nothing here loads torch, but for what is in a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from swav_cli.data.paths import expanded, kept_at
from swav_cli.errors import Notice, UserError, nearest, silent
from swav_cli.zoo.catalogue import all_names, entry_named, find, matching
from swav_cli.zoo.download import is_url
from swav_cli.zoo.foreign.file_kinds import WEIGHTS


def published_models(pattern: str = "") -> list[dict[str, Any]]:
    """What `swav models --json` prints.

    Args:
        pattern: as `matching` takes it.

    Raises:
        UserError: none matches; with the nearest name.
    """
    found = matching(pattern)
    if not found:
        close = nearest(pattern.strip("*"), all_names())
        raise UserError(f"no published model matches '{pattern}'.{close} All of them: swav models")
    return [entry.facts() for entry in found]


def describe_model(name: str | Path, notice: Notice = silent, linear: str | Path | None = None) -> dict[str, Any]:
    """What `swav models show --json` prints.

    >>> describe_model("swav-800e")["licence"]
    'CC-BY-NC-4.0'

    Args:
        name: of a published model, which is not fetched; or a run, a URL, or a file of whatever tool.
        linear: a linear classifier's file, to join to the model.

    Raises:
        UserError: there is none, or none that can be read.
    """
    word = str(name)
    there = os.path.exists(expanded(word))
    entry = None if there else entry_named(word)
    is_named = there or is_url(word) or word.startswith("timm:") or Path(word).suffix in WEIGHTS
    if entry is None and not is_named:
        entry = find(word)  # which tells the nearest
    if entry is None or linear is not None:
        from swav_cli.zoo.contents import inspect_file

        return inspect_file(word, notice, linear)
    here = kept_at("models", entry.file)
    return {**entry.facts(), "here": str(here) if here and here.exists() else None}

"""All of one model as plain values. Nothing here loads torch, but for what is in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from swav_cli.data.paths import kept_at
from swav_cli.zoo.catalogue import entry_named, find
from swav_cli.zoo.download import is_url

WEIGHTS = (".pth", ".pt", ".tar", ".safetensors", ".ckpt")  # a word that ends so is a file's name, and not a model's


def describe_model(name: str | Path, notice: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """What `swav models show --json` prints.

    >>> describe_model("swav-800e")["licence"]
    'CC-BY-NC-4.0'

    Args:
        name: of a published model, which is not fetched; or a run, a URL, or a file of whatever tool.

    Raises:
        UserError: there is none, or none that can be read.
    """
    word = str(name)
    entry = None if Path(word).exists() else entry_named(word)
    if entry is None and not Path(word).exists() and not is_url(word) and Path(word).suffix not in WEIGHTS:
        entry = find(word)  # which tells the nearest
    if entry is None:
        from swav_cli.zoo.contents import inspect_file

        return inspect_file(word, notice)
    here = kept_at("models", entry.file)
    return {**entry.facts(), "here": str(here) if here and here.exists() else None}

"""What is in a file of weights: its layout, its network, and its contents key by key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from swav_cli.core.weights import not_finite
from swav_cli.errors import Notice, UserError, silent
from swav_cli.zoo.cost import flops, parameters
from swav_cli.zoo.foreign.pickles import read_foreign
from swav_cli.zoo.foreign.wrappers import tensors_in
from swav_cli.zoo.load import Loaded, is_timms, load, local_file


def inspect_file(source: str, notice: Notice = silent, linear: str | Path | None = None) -> dict[str, Any]:
    """All of a model as plain values; a file in no known layout is told with its contents, and why.

    Raises:
        UserError: no such file, or none that can be read.
    """
    if is_timms(source):
        network = load(source, notice, linear)
        return _told(source, network, _contents_of(network.model.network.state_dict()))
    path = local_file(source, notice)
    contents = _contents_of(read_foreign(path))
    try:
        found = load(path, silent if linear is None else notice, linear)
    except UserError as error:
        return {"file": str(path), "layout": None, "problem": str(error), "contents": contents}
    if linear is None and (words := not_finite(found.model.network)):
        notice(f"{source}: {words}")
    return _told(str(path), found, contents)


def _told(file: str, found: Loaded, contents: dict[str, Any]) -> dict[str, Any]:
    about = found.model.about
    described = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(about).items()}
    return {
        "file": file,
        "layout": found.layout,
        "loaded": found.loaded,
        **described,
        "parameters": parameters(about),
        "flops": flops(about),
        "contents": contents,
    }


def _contents_of(content: Any) -> dict[str, Any]:
    """What lies around the weights, and the tensors, those of a stage or a layer together."""
    around = {str(key): _words(value) for key, value in content.items()} if isinstance(content, Mapping) else {}
    groups: dict[str, list[str]] = {}
    for key, tensor in tensors_in(content).items():
        stage = re.match(r"(.*\blayer\d+)\.", key)
        group = stage[1] if stage else key.rpartition(".")[0] or key
        groups.setdefault(group, []).append(" x ".join(map(str, tensor.shape)) or "number")
    tensors = {group: {"count": len(shapes), "shapes": list(dict.fromkeys(shapes))} for group, shapes in groups.items()}
    return {
        "around": {key: words for key, words in around.items() if not words.startswith("tensor")},
        "tensors": tensors,
    }


def _words(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"tensor {' x '.join(map(str, value.shape))}"
    if isinstance(value, (Mapping, list, tuple, set)):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, (int, float, bool)) or value is None:
        return str(value)
    return f"text of {len(value)}" if isinstance(value, str) else type(value).__name__

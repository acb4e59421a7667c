"""What lies around the tensors of a checkpoint: dictionaries of a training state, averaged copies, modules, prefixes.

Files come from anybody and may hold themselves, so no search goes deeper than `DEPTH`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

AROUND = ("state_dict", "classy_state_dict", "base_model", "model", "model_state_dict")
AVERAGED = ("state_dict_ema", "model_ema", "model_ema_state_dict", "ema_model", "ema")  # taken before the last weights
WRAPPERS = (
    "module.",
    "_orig_mod.",
    "model.",
    "_forward_module.",
    "timm_model.",
)  # DistributedDataParallel, torch.compile, …
BESIDE = re.compile(
    r"optim|sched|scaler|loss|criterion|queue|args|hyper_?param|hparams|callback|loop|meta|(^|_)ema(_|$)"
)
DEPTH = 8


class Held(NamedTuple):
    """The tensors of a file by its own names, without what is wrapped around all of them."""

    tensors: dict[str, Tensor]
    notes: list[str]  # of choices, in words


def held_in(content: Any) -> Held:
    """Tensors by the file's names; where there are several sets, averaged weights and a teacher's go before others."""
    notes: list[str] = []
    around: set[int] = set()
    for _ in range(DEPTH):
        if not isinstance(content, Mapping):
            return Held({}, notes)
        if _is_module(content):
            notes.append("a whole pickled module, of which the tensors alone were read")
            return Held(_unwrapped(dict(_of_module(content, "", 4 * DEPTH))), notes)
        around.add(id(content))
        key = _inner({key: value for key, value in content.items() if id(value) not in around}, notes)
        if key is None:
            return Held(_unwrapped(dict(_flat(content, "", DEPTH, set()))), notes)
        content = content[key]
    return Held({}, notes)


def tensors_in(content: Any) -> dict[str, Tensor]:
    return held_in(content).tensors


def matches_any(keys: Iterable[str], pattern: str) -> bool:
    return any(re.match(pattern, key) for key in keys)


def _inner(content: Mapping[Any, Any], notes: list[str]) -> Any:
    """The key behind which the weights lie, or None where they are here."""
    for key in AVERAGED:
        if _holds_tensors(content.get(key)):
            notes.append(f"averaged weights taken ('{key}')")
            return key
    for key in AROUND:
        if _holds_tensors(content.get(key)):
            return key
    if any(isinstance(value, Tensor) for value in content.values()):
        return None
    inside = [key for key, value in content.items() if not BESIDE.search(str(key).lower()) and _holds_tensors(value)]
    if "teacher" in inside:
        notes.append("the teacher's weights taken ('teacher')")
        return "teacher"
    return inside[0] if len(inside) == 1 else None


def _holds_tensors(content: Any) -> bool:
    if not isinstance(content, Mapping):
        return False
    return _is_module(content) or next(_flat(content, "", DEPTH, set()), None) is not None


def _flat(content: Mapping[Any, Any], before: str, depth: int, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """VISSL keeps trunk and heads in mappings of their own."""
    seen.add(id(content))
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield f"{before}{key}", value
        elif isinstance(value, Mapping) and depth > 1 and id(value) not in seen:
            yield from _flat(value, f"{before}{key}.", depth - 1, seen)


def _is_module(content: Mapping[Any, Any]) -> bool:
    """What a stand-in holds of an `nn.Module`: its attributes."""
    return all(isinstance(content.get(key), Mapping) for key in ("_parameters", "_buffers", "_modules"))


def _of_module(module: Mapping[Any, Any], before: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    """As its `state_dict` would name them."""
    passing = module.get("_non_persistent_buffers_set") or ()
    for part in ("_parameters", "_buffers"):
        for key, value in module[part].items():
            if isinstance(value, Tensor) and key not in passing:
                yield f"{before}{key}", value
    for key, inner in module["_modules"].items():
        if isinstance(inner, Mapping) and _is_module(inner) and depth > 1:
            yield from _of_module(inner, f"{before}{key}.", depth - 1)


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    inside = r"(backbone|encoder|trunk|_feature_blocks)\.|(conv1|linear)\.weight$"
    while True:
        wrapper = next((word for word in WRAPPERS if matches_any(tensors, re.escape(word))), None)
        if wrapper is None or matches_any(tensors, inside):
            return tensors
        tensors = {key.removeprefix(wrapper): tensor for key, tensor in tensors.items()}

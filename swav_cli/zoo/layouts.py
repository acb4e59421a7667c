"""Checkpoints as other tools lay them out: which tool's it is, and its tensors by the names of the published code.

Those names are ours too. What the network is and whether all of it is there is settled in `assemble`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from swav_cli.errors import UserError

AROUND = ("state_dict", "classy_state_dict", "base_model", "model", "model_state_dict")
WRAPPERS = ("module.", "_orig_mod.", "model.")  # DistributedDataParallel, torch.compile, a module around the network

Renames = tuple[tuple[str, str], ...]


class Layout(NamedTuple):
    """How a tool names its tensors."""

    name: str
    mark: str  # pattern of a key: the first layout that has one is the file's
    renames: Renames = ()  # pattern of a key's beginning, and ours in its place; none: the names are ours already
    again: str = "$."  # pattern of keys that repeat what others hold


def _mm(name: str, prototypes: str) -> Layout:
    """The releases differ in where the prototypes lie. The head's normalisation is saved twice, once in the neck."""
    before = re.escape(prototypes)
    renames = (("backbone\\.", ""), ("neck\\.projection_neck\\.", "projection_head."), (before, "prototypes."))
    return Layout(name, before, renames, again="neck\\.(norm|bn)\\.|data_preprocessor\\.")


_HEADS = ("projection_head\\.", "projection_head."), ("prototypes\\.", "prototypes."), ("fc\\.", "fc.")
LAYOUTS = (
    Layout(
        "VISSL",
        r"(.*\.)?_feature_blocks\.",
        (
            (r"(.*\.)?_feature_blocks\.", ""),
            (r"(.*\.)?heads\.0\.projection_head\.", "projection_head."),
            (r"(.*\.)?heads\.0\.prototypes(?=\d)", "prototypes.prototypes"),
        ),
    ),
    _mm("mmpretrain 1.x", "head.loss_module.prototypes."),
    _mm("mmselfsup 1.x", "head.loss.prototypes."),
    _mm("mmselfsup 0.x", "head.prototypes."),
    Layout("mmpretrain classifier", r"head\.fc\.", ((r"backbone\.", ""), (r"head\.fc\.", "fc."))),
    _mm("mmpretrain without prototypes", "neck.projection_neck."),
    Layout(
        "solo-learn",
        r"projector\.",
        (
            (r"(backbone|encoder)\.", ""),  # `encoder` in its first versions
            (r"projector\.", "projection_head."),
            (r"prototypes\.", "prototypes."),
            (r"classifier\.", "fc."),
        ),
    ),
    Layout(
        "lightly",
        r"projection_head\.layers\.|prototypes\.(heads|layers)\.",
        (
            (r"backbone\.", ""),
            (r"projection_head\.layers\.", "projection_head."),
            (r"prototypes\.heads\.(?=\d)", "prototypes.prototypes"),
            (r"prototypes\.(layers\.)?", "prototypes."),
        ),
    ),
    Layout("a backbone by that name", r"backbone\.", ((r"backbone\.", ""), *_HEADS)),
    Layout("DeepCluster-v2 or SeLa-v2", r"prototypes\.prototypes\d"),
    Layout("published swav", r"projection_head\.|prototypes\."),
    Layout("torchvision or timm", r"conv1\.weight$|layer1\."),
)


class Named(NamedTuple):
    """A file's tensors by our names."""

    layout: str
    tensors: dict[str, Tensor]
    theirs: dict[str, str]  # our names to the file's
    aside: list[str]  # keys of the file that are no part of backbone, head, prototypes or classifier


def tensors_in(content: Any) -> dict[str, Tensor]:
    """Tensors by the file's names, without what is wrapped around all of them."""
    while isinstance(content, Mapping):
        inner = next((content[key] for key in AROUND if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            return _unwrapped(dict(_flat(content, "")))
        content = inner
    return {}


def _flat(content: Mapping[Any, Any], before: str) -> Iterator[tuple[str, Tensor]]:
    """VISSL keeps trunk and heads in mappings of their own."""
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield f"{before}{key}", value
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    inside = re.compile(r"(backbone|encoder|trunk|_feature_blocks)\.|(conv1|linear)\.weight$")
    while True:
        wrapper = next((word for word in WRAPPERS if _any(tensors, re.escape(word))), None)
        if wrapper is None or _any(tensors, inside.pattern):
            return tensors
        tensors = {key.removeprefix(wrapper): tensor for key, tensor in tensors.items()}


def _any(keys: Iterable[str], pattern: str) -> bool:
    return any(re.match(pattern, key) for key in keys)


def by_our_names(content: Any, where: str) -> Named:
    """Recognise what a foreign file holds.

    Raises:
        UserError: no tensors, or in no known layout; with the first keys.
    """
    tensors = tensors_in(content)
    if not tensors:
        raise UserError(f"{where}: holds no tensors by name")
    layout = next((layout for layout in LAYOUTS if _any(tensors, layout.mark)), None)
    if layout is None:
        raise UserError(f"{where}: in no layout that swav knows; its first keys: {', '.join(list(tensors)[:4])}")
    named = Named(layout.name, {}, {}, [])
    for key, tensor in tensors.items():
        if re.match(layout.again, key):
            continue
        name = _our_name(key, layout.renames)
        if name is None:
            named.aside.append(key)
        else:
            named.tensors[name], named.theirs[name] = tensor, key
    return _numbered(named)


def _our_name(key: str, renames: Renames) -> str | None:
    if not renames:
        # our own export for the published code names a classifier as its linear evaluation does
        return f"fc.{key.removeprefix('linear.')}" if key.startswith("linear.") else key
    for pattern, ours in renames:
        found = re.match(pattern, key)
        if found:
            return ours + key[found.end() :]
    return None


def _numbered(named: Named) -> Named:
    """lightly cuts the layers of a ResNet into a numbered row: torchvision's eight, or the six of its own ResNet."""
    if "0.weight" not in named.tensors:
        return named
    first = 2 if "2.0.conv1.weight" in named.tensors else 4
    words = {"0": "conv1", "1": "bn1", **{str(first + stage): f"layer{stage + 1}" for stage in range(4)}}

    def word(name: str) -> str:
        number, dot, rest = name.partition(".")
        return f"{words.get(number, number)}{dot}{rest}".replace(".shortcut.", ".downsample.")

    tensors = {word(name): tensor for name, tensor in named.tensors.items()}
    return named._replace(tensors=tensors, theirs={word(name): key for name, key in named.theirs.items()})


def linear_alone(content: Any) -> dict[str, Tensor] | None:
    """The classifier in a file that holds nothing else, as the published linear evaluation saves it; else None."""
    tensors = tensors_in(content)
    if not tensors or not tensors.keys() <= {"linear.weight", "linear.bias"}:
        return None
    return {key.replace("linear.", "fc."): tensor for key, tensor in tensors.items()}


def description_in(content: Any) -> str:
    """The description, as JSON, that an export of ours for another tool carries; empty where there is none."""
    if not isinstance(content, Mapping):
        return ""
    meta = content.get("meta")
    found = content.get("swav") or (meta.get("swav") if isinstance(meta, Mapping) else None)
    return json.dumps(found) if isinstance(found, dict) else ""


def classes_in(content: Any) -> tuple[str, ...]:
    """Names of classes that mmpretrain writes beside the weights; empty where there are none."""
    meta = content.get("meta") if isinstance(content, Mapping) else None
    places = [meta.get("dataset_meta"), meta] if isinstance(meta, Mapping) else []
    for place in places:
        for key in ("classes", "CLASSES"):
            names = place.get(key) if isinstance(place, Mapping) else None
            if isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names):
                return tuple(names)
    return ()

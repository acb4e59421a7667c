"""A ResNet that lies anywhere below a name of somebody's own: found by its first layers.

`net.conv1.weight` of a user's module, `teacher_embedding_model.wrapped_model._features.conv1.weight` of lightly-train,
`0.weight` of the row of layers into which lightly cuts a ResNet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torch import Tensor

from swav_cli.errors import UserError

STEM = re.compile(r"(?P<root>(.*\.)?)(conv1|0)\.weight")
# Where there are two networks, the one that is used afterwards: a teacher is the mean of its student; MoCo's query
# encoder and what BYOL trains go before the copies that follow them.
PREFERRED = (r"teacher", r"ema", r"encoder_q", r"online", r"backbone", r"student")
FOLLOWS = re.compile(r"momentum|encoder_k|target")
NO_CLASSIFIER = re.compile(r"encoder_q|online|teacher|student|momentum|target")  # their `fc` is a projection


class Below(NamedTuple):
    """The backbone below one name."""

    layout: str
    names: dict[str, str | None]  # the file's keys to names below the root; None: no part of it
    notes: list[str]


def backbone_below(tensors: Mapping[str, Tensor], where: str) -> Below | None:
    """The ResNet in a file of no known layout, or None where there is none.

    Raises:
        UserError: there are several, and nothing tells which is meant.
    """
    roots = [found["root"] for key in tensors if (found := STEM.fullmatch(key)) and _is_root(found["root"], tensors)]
    if not roots:
        return None
    root = _chosen(roots, where)
    names = {key: _below(key, root) for key in tensors if not key.endswith("n_averaged")}
    notes = []
    if len(roots) > 1:
        others = ", ".join(f"'{other.rstrip('.')}'" for other in roots if other != root)
        notes.append(f"the network below '{root.rstrip('.')}' taken, and not {others}")
    return Below(
        f"a ResNet below '{root.rstrip('.')}'" if root else "a ResNet as a numbered row of layers", names, notes
    )


def numbered(names: Iterable[str]) -> dict[str, str]:
    """Numbers to names of layers, where a ResNet is a row: with pooling behind the stem or without; else none."""
    names = set(names)
    stages = [int(found[1]) for name in names if (found := re.fullmatch(r"(\d+)\.0\.conv1\.weight", name))]
    if "0.weight" not in names or not stages:
        return {}
    return {"0": "conv1", "1": "bn1", **{str(min(stages) + stage): f"layer{stage + 1}" for stage in range(4)}}


def _is_root(root: str, tensors: Mapping[str, Tensor]) -> bool:
    return any(f"{root}{layer}.0.conv1.weight" in tensors for layer in ("layer1", "2", "3", "4"))


def _chosen(roots: list[str], where: str) -> str:
    leading = [root for root in roots if not FOLLOWS.search(root)] or roots
    for word in PREFERRED:
        fitting = [root for root in leading if word in root]
        if len(fitting) == 1:
            return fitting[0]
    if len(leading) == 1:
        return leading[0]
    named = ", ".join(f"'{root.rstrip('.')}'" for root in roots)
    raise UserError(f"{where}: holds {len(roots)} networks, below {named}; save the one that is meant by itself")


def _below(key: str, root: str) -> str | None:
    if not key.startswith(root):
        return None
    name = key.removeprefix(root)
    is_part = re.match(r"(conv1|bn1|layer\d|\d+)\.", name)
    is_classifier = re.fullmatch(r"fc\.(weight|bias)", name) and not NO_CLASSIFIER.search(root)
    return name if is_part or is_classifier else None

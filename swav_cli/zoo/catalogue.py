"""The published weights, by name: what `models.yaml` says of them. Nothing here loads torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from swav_cli.errors import UserError, nearest

DEFAULT = "swav-200e-mmpretrain-linear"  # taken where no model is named and no run is there: it tells 1,000 classes
FREE = ("Apache-2.0", "MIT", "BSD-3-Clause")


@dataclass(frozen=True)
class Entry:
    """Published weights; `models.yaml` says what the numbers count."""

    name: str
    url: str
    source: str
    licence: str
    parameters: int
    flops: int
    epochs: int
    top1: float
    batch: int | None = None
    aliases: tuple[str, ...] = ()
    sha256: str = ""
    architecture: str = "resnet50"
    hidden_dim: int | None = 2048
    prototypes: int | None = 3000
    classes: int = 0
    backbone: str = ""

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def names(self) -> tuple[str, ...]:
        """All the words that mean this entry, its own first."""
        stem = self.file.removesuffix(".tar").removesuffix(".pth")
        return tuple(dict.fromkeys((self.name, *self.aliases, stem, stem.removesuffix("_pretrain"), self.file)))

    @property
    def free(self) -> bool:
        return self.licence in FREE

    def facts(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {**asdict(self), "aliases": list(self.names[1:]), "file": self.file}


@cache
def entries() -> tuple[Entry, ...]:
    """All published weights, in the order of the file."""
    text = (Path(__file__).parent / "models.yaml").read_text(encoding="utf-8")
    return tuple(_entries(yaml.safe_load(text)))


def _entries(groups: dict[str, Any]) -> Iterator[Entry]:
    for group in groups.values():
        for model in group["models"]:
            values: dict[str, Any] = {**model, "aliases": tuple(model.get("aliases", ()))}
            url = group["folder"] + values.pop("file")
            yield Entry(url=url, source=group["source"], licence=group["licence"], **values)


def entry_named(word: str) -> Entry | None:
    """The entry with this name, alias, file name or address; else None."""
    lowered = word.lower()
    for entry in entries():
        if word == entry.url or lowered in (name.lower() for name in entry.names):
            return entry
    return None


def find(word: str) -> Entry:
    """The entry with this name.

    Raises:
        UserError: there is none; with the nearest name.
    """
    entry = entry_named(word)
    if entry is None:
        raise UserError(f"no published model '{word}'.{nearest(word, all_names())} See them with: swav models")
    return entry


def all_names() -> list[str]:
    """Every word that means a published model."""
    return [name for entry in entries() for name in entry.names]


def list_models(pattern: str = "") -> list[str]:
    """Names of the published models that match.

    >>> list_models("*w2*")
    ['swav-400e-w2']
    """
    return [entry.name for entry in matching(pattern)]


def matching(pattern: str = "") -> list[Entry]:
    """Entries of which a name or the network matches the pattern (`*w2*`), or holds it where it has no wildcard."""
    wanted = pattern.lower()
    if not any(sign in wanted for sign in "*?["):
        wanted = f"*{wanted}*"
    words = [(entry, (*entry.names, entry.architecture)) for entry in entries()]
    return [entry for entry, names in words if any(fnmatchcase(name.lower(), wanted) for name in names)]

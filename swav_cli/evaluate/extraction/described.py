"""What lies beside a file of features, `feats.json`: how they were made, and so whether they are what is asked for."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from swav_cli.core.weights import About, Model
from swav_cli.data.pictures import Pictures, digest
from swav_cli.errors import UserError
from swav_cli.evaluate.extraction.writers import Output, check_writable
from swav_cli.files import json_ready

FEATURES_FORMAT = "swav-features-1"
# Settings whose values tell nobody anything.
ANOTHER = {
    "model": "other weights", "pictures": "other pictures", "contents": "other pictures of the same names",
    "labels": "other labels",
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What the rows depend on; batch size, workers and number of processes are not among it."""

    model: str  # digest of weights and description
    pictures: str  # digest of their names
    layer: str
    normalize: bool
    multi_scale: bool
    precision: str
    contents: str  # digest of what a few of the pictures hold, for names may be those of others
    labels: str  # digest of their classes and of the numbers of these, which are written beside
    shape: tuple[int, ...]


def describe(
    settings: Settings, model: Model, pictures: Pictures, output: Output, failures: list[tuple[int, str]]
) -> dict[str, Any]:
    """The content of the file.

    Args:
        failures: rows of pictures that can't be read, and why.
    """
    about, labelled = model.about, pictures.labels is not None
    return {
        "format": FEATURES_FORMAT,
        "file": output.path.name,
        "rows": settings.shape[0],
        "shape": list(settings.shape),
        "dtype": "float32",
        "layer": settings.layer,
        "model": model.name,
        "model_description": json.loads(about.to_json()),
        "normalize": settings.normalize,
        "multi_scale": settings.multi_scale,
        "precision": settings.precision,
        "preprocessing": preprocessing(about),
        "pictures": pictures.source,
        "paths": output.paths.name if output.paths else None,
        "labels": output.labels.name if output.labels and labelled else None,
        "classes": pictures.classes if labelled else None,
        "failures": [{"row": row, "path": pictures.name(row), "reason": reason} for row, reason in failures],
        "settings": json_ready(asdict(settings)),
    }


def preprocessing(about: About) -> dict[str, Any]:
    """How pictures are prepared, for whoever wants to do it elsewhere."""
    return {
        "resize_shorter_side": about.shorter_side,
        "unless": f"{about.size} x {about.size} already",
        "interpolation": "bilinear, antialiased",
        "centre_crop": about.size,
        "divide_by": 255,
        "mean": list(about.mean),
        "std": list(about.std),
        "channels": about.channels,
    }


def result_of(output: Output, description: dict[str, Any]) -> dict[str, Any]:
    """What is told of a finished file."""
    told = {key: description[key] for key in ("rows", "shape", "layer", "model", "failures")}
    beside = {key: str(output.path.with_name(description[key])) for key in ("paths", "labels") if description[key]}
    return {"file": str(output.path), **told, "description": str(output.description), **beside}


def described(output: Output) -> dict[str, Any]:
    """What lies beside a file of features of ours; nothing where there is none."""
    try:
        content = json.loads(output.description.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    ours = (
        isinstance(content, dict)
        and content.get("format") == FEATURES_FORMAT
        and content.get("file") == output.path.name
    )
    return content if ours else {}


def check_output(output: Output, overwrite: bool) -> None:
    """What was finished before may lie where nobody can write any more.

    Raises:
        UserError: the files can't be written where they are to lie.
    """
    if overwrite or not described(output):
        check_writable(output)


def is_finished(output: Output, wanted: dict[str, Any]) -> bool:
    """Whether the file is there and was made with these settings."""
    before = _settings(output)
    return output.path.exists() and before is not None and are_alike(before, wanted)


def _settings(output: Output) -> dict[str, Any] | None:
    found = described(output).get("settings")
    return found if isinstance(found, dict) else None


def are_alike(before: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether settings are the same; those that are not noted, as before they counted, may have been."""
    return before.keys() <= wanted.keys() and all(wanted[key] == value for key, value in before.items())


def as_noted(wanted: dict[str, Any], noted: dict[str, Any], pictures: Pictures) -> dict[str, Any]:
    """Settings as an earlier version has noted them of the same pictures, where those are the ones noted."""
    if noted.get("pictures") not in pictures.former_fingerprints():
        return wanted
    looked_at = noted.get("contents") != digest([])  # those of shards were not
    return {**wanted, "pictures": noted["pictures"], **({} if looked_at else {"contents": noted["contents"]})}


def refuse_others(output: Output, wanted: dict[str, Any]) -> None:
    """
    Raises:
        UserError: one of the output's files is there, with what it is.
    """
    before = _settings(output)
    there = next((path for path in output.files() if path.exists()), None)
    if there is None:
        return
    if before is None:
        held = "is there, and was not written by this command"
    elif are_alike(before, wanted):
        held = "is there, with the same settings"
    else:
        held = f"holds something else ({differences(before, wanted)})"
    raise UserError(f"{there} {held}; give another --out, or replace it with --overwrite")


def differences(before: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Which settings differ, in words."""
    changed = [key for key in wanted if before.get(key, wanted[key]) != wanted[key]]
    if "pictures" in changed:  # whose labels are others as well
        changed = [key for key in changed if key not in ("contents", "labels")]
    told = [ANOTHER.get(key) or f"{key} {before.get(key)} there, {wanted[key]} asked for" for key in changed]
    # A shape tells something only where nothing else does: it follows from the layer and the pictures.
    return "; ".join(told[:-1] if len(told) > 1 and changed[-1] == "shape" else told)

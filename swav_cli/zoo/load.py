"""Any model by whatever names it: a run, a file of ours or of others, a URL, or a name of the zoo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from swav_cli.core.checkpoint import RunFolder
from swav_cli.core.model import SwAV
from swav_cli.core.weights import About, read_model
from swav_cli.errors import UserError


def load_model(
    source: str | Path | None = None, notice: Callable[[str], None] = lambda text: None
) -> tuple[SwAV, About]:
    """A network in eval mode, on the CPU, and what is to be known of it.

    >>> model, about = load_model("runs/quickstart")
    >>> features = model.features(pictures)    # (B, 3, size, size), normalised with about.mean and about.std

    Args:
        source: a run's folder, or a `model.safetensors`; nothing: the newest run below `runs/`.
        notice: told which model was taken where none was named.

    Raises:
        UserError: no such model.
    """
    if source is None:
        source = newest_run()
        notice(f"model: {source}")
    path = Path(source)
    return read_model(RunFolder(path).model if path.is_dir() else path)


def newest_run(runs: Path = Path("runs")) -> Path:
    """The run that was trained last.

    Raises:
        UserError: there is none.
    """
    found = [path.parent for path in runs.glob("*/model.safetensors")]
    if not found:
        raise UserError(f"{runs}: holds no trained model; name one, or train one with: swav pretrain quickstart")
    return max(found, key=lambda path: RunFolder(path).model.stat().st_mtime)

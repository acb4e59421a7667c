"""`swav export`."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from swav_cli.errors import Interrupted
from swav_cli.zoo.export_formats import FORMATS, LAYERS, ExportRequest, format_of

if TYPE_CHECKING:
    from swav_cli.zoo.export import Exported


def _formats(incomplete: str) -> list[str]:
    return [name for name in FORMATS if name.startswith(incomplete)]


def _layers(incomplete: str) -> list[str]:
    return [name for name in LAYERS if name.startswith(incomplete)]


def export(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A run's folder, a file of weights, a URL or a name of the zoo; else the newest run.",
            show_default=False,
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"{', '.join(FORMATS)}; else by the ending of --out, else onnx.",
            autocompletion=_formats,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Else <run>/export/<name> with the format's ending.")
    ] = None,
    layer: Annotated[
        str,
        typer.Option(
            metavar="LAYER",
            help=f"What onnx and torch-export put out: {', '.join(LAYERS)} (of classes).",
            autocompletion=_layers,
        ),
    ] = "pooled",
    preprocess: Annotated[
        bool,
        typer.Option(
            "--preprocess", help="onnx and torch-export take uint8 (B, C, H, W), and normalise it themselves."
        ),
    ] = False,
    half: Annotated[bool, typer.Option("--half", help="Weights in float16.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")] = False,
) -> None:
    """Write a model for another library, and see that it says the same there.

    swav export runs/quickstart
    swav export runs/quickstart --format onnx --preprocess --out features.onnx
    swav export runs/photos --format timm --half

    Prints the lines of Python that load it.
    """
    request = ExportRequest(format_ or format_of(str(out or "")), layer, preprocess, half)
    from swav_cli.zoo.export import export as write

    signal.signal(signal.SIGTERM, _stop)
    done = write(model, request, out, overwrite, notice=lambda text: print(text, file=sys.stderr))
    if as_json:
        print(json.dumps(done.to_json(), ensure_ascii=False), flush=True)
        return
    print(_summary(done), file=sys.stderr, flush=True)
    print("\n".join(done.lines), flush=True)


def _stop(number: int, frame: FrameType | None) -> None:
    """An exception, so that what is half-made is cleared away."""
    raise Interrupted("stopped, nothing was kept", number)


def _summary(done: Exported) -> str:
    """Where it is, how well it agrees, and what to know of it."""
    largest = max(done.differences, key=lambda part: part.largest)
    batches = ", ".join("{} of {}x{}".format(*part.shape) for part in done.differences)
    return "\n".join(
        [
            f"wrote {done.path}, {done.bytes / 1e6:.1f} MB",
            f"largest difference from ours {largest.largest:.1e}, of values up to {largest.values:.3g} "
            f"({done.request.tolerance:.0e} allowed, times values above 1; batches {batches})",
            *(f"note: {text}" for text in done.notices),
            "loaded by:",
        ]
    )

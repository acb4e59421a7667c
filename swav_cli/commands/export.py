"""`swav export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swav_cli.commands import options
from swav_cli.commands.output import print_json, print_result, say
from swav_cli.exports.formats import EXPORT_FORMATS, LAYERS, ExportRequest, export_format

if TYPE_CHECKING:
    from swav_cli.tasks.export import Exported


def _formats(incomplete: str) -> list[str]:
    return [name for name in EXPORT_FORMATS if name.startswith(incomplete)]


def _layers(incomplete: str) -> list[str]:
    return [name for name in LAYERS if name.startswith(incomplete)]


def export(
    model: Annotated[str | None, options.model_argument("the newest run")] = None,
    linear: options.Linear = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"{', '.join(EXPORT_FORMATS)}; else by the ending of --out, else onnx.",
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
    static: Annotated[
        int | None,
        typer.Option(
            metavar="BATCH",
            min=1,
            help="onnx and torch-export take so many pictures at a time, of the model's size: for converters that need "
            "fixed shapes.",
            show_default="any batch and size",
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Write a model for another library, and see that it says the same there.

    swav export runs/quickstart
    swav export runs/quickstart --format onnx --preprocess --out features.onnx
    swav export runs/photos --format timm --half
    swav export runs/photos --static 1 --out phone.onnx

    What was written is loaded back and compared with ours on drawn pictures.
    Where a number differs by more than 1e-4 (with --half 2e-2), times the
    layer's largest value if that is above 1, it fails and no file is left.

    Prints the lines of Python that load it.
    """
    request = ExportRequest(format_ or export_format(str(out or "")), layer, preprocess, half, static)
    from swav_cli.tasks.export import export as write

    done = write(model, request, out, overwrite, notice=say, linear=linear)
    if as_json:
        print_json(done.to_json())
        return
    say(_summary(done))
    print_result("\n".join(done.lines))


def _summary(done: Exported) -> str:
    """Where it is, how well it agrees, and what to know of it."""
    largest = max(done.differences, key=lambda part: part.largest)
    batches = dict.fromkeys("{} of {}x{}".format(*part.shape) for part in done.differences)
    layers = dict.fromkeys(part.layer for part in done.differences)
    return "\n".join(
        [
            f"wrote {done.path}, {done.bytes / 1e6:.1f} MB",
            f"largest difference from ours {largest.largest:.1e}, where values go up to {largest.values:.3g}; largest "
            f"relative one {max(part.relative for part in done.differences):.1e}, and "
            f"{done.request.tolerance:.0e} is allowed",
            f"compared: {', '.join(layers)}, on batches of drawn pictures: {', '.join(batches)}",
            *(f"note: {text}" for text in done.notices),
            "loaded by:",
        ]
    )

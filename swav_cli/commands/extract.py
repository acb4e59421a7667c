"""`swav extract`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from swav_cli.commands import options
from swav_cli.commands.output import print_json
from swav_cli.parallel.place import is_first

SHOWN = 10  # failures told of one by one


def extract(
    inputs: Annotated[list[str] | None, options.inputs("the pictures of the model's own run")] = None,
    model: Annotated[str | None, options.model_option("the newest run")] = None,
    linear: options.Linear = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Ends in .npy, .npz, .safetensors, .parquet, .csv or .pt.",
            show_default="features.npy beside the run",
        ),
    ] = None,
    layer: Annotated[
        str,
        typer.Option(
            metavar="LAYER",
            help="pooled, embedding, scores, logits, probabilities; or a map: stem, layer1 to layer4, or a stage of "
            "timm's by its name there, such as stages.3.",
        ),
    ] = "pooled",
    normalize: Annotated[bool, typer.Option("--normalize", help="Give each row length 1.")] = False,
    multi_scale: Annotated[
        bool, typer.Option("--multi-scale", help="Average over three sizes of each picture: 1, 0.71 and 0.5.")
    ] = False,
    device: options.Device = "auto",
    devices: options.Devices = None,
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    resume: Annotated[bool, options.resume("begin anew")] = True,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Write features of pictures to a file, a row a picture in sorted order.

    swav extract --out feats.npy
    swav extract photos/ --model runs/quickstart --out feats.parquet
    swav extract photos/ --layer layer4 --out maps.npy
    swav extract imagenet/train --devices 8 --out feats.npy

    Beside feats.npy lie feats.paths.txt, a path a line, and feats.json.
    A picture that can't be read has a row of NaN.
    Work that was stopped goes on when the same command is typed again.
    """
    options.start_processes(devices, device)
    from swav_cli.report.console import Screen
    from swav_cli.tasks.extract import write_features

    screen = Screen(speaks=is_first())
    with screen.counting("pictures") as progress:
        result = write_features(
            inputs or [], out, model, linear=linear, layer=layer, normalize=normalize, multi_scale=multi_scale,
            device=device, precision=precision, batch_size=batch_size, workers=workers, resume=resume,
            overwrite=overwrite, notice=screen.notice, progress=progress, indexing=screen.indexing,
        )  # fmt: skip
    for line in _closing(result):
        screen.notice(line)
    if as_json:
        print_json(result)


def _closing(result: dict[str, Any]) -> list[str]:
    shape = " x ".join(f"{side:,}" for side in result["shape"])
    failures = result["failures"]
    lines = [f"{'wrote ' if result['new'] else ''}{result['file']}: {shape}, {result['layer']} of {result['model']}"]
    lines += [f"  row {each['row']} is NaN: {each['path']}: {each['reason']}" for each in failures[:SHOWN]]
    if len(failures) > SHOWN:
        lines.append(f"  and {len(failures) - SHOWN:,} more; all are in {result['description']}")
    return lines

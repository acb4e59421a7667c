"""`swav extract`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from swav_cli.commands.classifier_options import Devices, Linear, start_processes

SHOWN = 10  # failures told of one by one


def extract(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="Pictures, folders, patterns, a list file, shards (.tar), '-' for paths on standard input, "
            "torchvision:NAME or shapes:COUNT.",
            show_default="the pictures of the model's own run",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A run's folder, a file of weights, or a published model.",
            show_default="the newest run",
        ),
    ] = None,
    linear: Linear = None,
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
            help="pooled, embedding, scores, logits, probabilities; or a map: stem, layer1 to layer4, or a stage of "
            "timm's by its name there, such as stages.3."
        ),
    ] = "pooled",
    normalize: Annotated[bool, typer.Option("--normalize", help="Give each row length 1.")] = False,
    multi_scale: Annotated[
        bool, typer.Option("--multi-scale", help="Average over three sizes of each picture: 1, 0.71 and 0.5.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    devices: Devices = None,
    precision: Annotated[str, typer.Option(help="auto, float32 or bf16.")] = "auto",
    batch_size: Annotated[int | None, typer.Option(help="Pictures at a time; rows don't depend on it.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that read pictures.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on where the same command was stopped; else begin anew.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")] = False,
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
    start_processes(devices, device)
    from swav_cli.parallel.processes import is_first
    from swav_cli.report.progress import Progress
    from swav_cli.tasks.extract import write_features

    first = is_first()  # of several processes one speaks for all
    screen = Progress(speaks=first)
    try:
        result = write_features(
            inputs or [], out, model, linear=linear, layer=layer, normalize=normalize, multi_scale=multi_scale,
            device=device, precision=precision, batch_size=batch_size, workers=workers, resume=resume,
            overwrite=overwrite, notice=screen.notice, progress=screen,
        )  # fmt: skip
    finally:
        screen.close()
    for line in _closing(result):
        screen.notice(line)
    if as_json and first:
        print(json.dumps(result), flush=True)


def _closing(result: dict[str, Any]) -> list[str]:
    shape = " x ".join(f"{side:,}" for side in result["shape"])
    failures = result["failures"]
    lines = [f"{'wrote ' if result['new'] else ''}{result['file']}: {shape}, {result['layer']} of {result['model']}"]
    lines += [f"  row {each['row']} is NaN: {each['path']}: {each['reason']}" for each in failures[:SHOWN]]
    if len(failures) > SHOWN:
        lines.append(f"  and {len(failures) - SHOWN:,} more; all are in {result['description']}")
    return lines

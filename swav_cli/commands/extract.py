"""`swav extract`."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from swav_cli.commands import options
from swav_cli.commands.output import print_json
from swav_cli.errors import UserError, counted
from swav_cli.parallel.place import is_first

SHOWN = 10  # failures told of one by one
SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))  # behind the name of a folder


def extract(
    inputs: Annotated[list[str] | None, options.inputs("the pictures of the model's own run")] = None,
    model: Annotated[str | None, options.model_option("the newest run")] = None,
    linear: options.Linear = None,
    out: Annotated[
        str | None,  # a Path would drop the / at the end
        typer.Option(
            metavar="FILE|DIR/",
            help="Ends in .npy, .npz, .safetensors, .parquet, .csv or .pt; or in /: a Parquet file for each shard.",
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
    part: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Of N jobs this is number I, from 0 on: every N-th shard into --out DIR/."),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(metavar="ray", help="By the workers of a Ray cluster, shards into --out DIR/.")
    ] = None,
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

    Shards (.tar), Parquet and Arrow files become parts in a folder, by any number of processes and machines:

    swav extract 'shards/*.tar' --out feats/
    swav extract 'data/*.parquet' --out feats/ --part $SLURM_ARRAY_TASK_ID/16
    swav extract 'shards/*.tar' --out feats/ --engine ray
    """
    in_parts = part is not None or engine is not None or (out or "").endswith(SEPARATORS)
    if engine is None:
        options.start_processes(devices, device)
    from swav_cli.report.console import Screen

    screen = Screen(speaks=is_first())
    given: dict[str, Any] = {
        "linear": linear, "layer": layer, "normalize": normalize, "multi_scale": multi_scale, "device": device,
        "precision": precision, "batch_size": batch_size, "workers": workers, "resume": resume, "overwrite": overwrite,
        "notice": screen.notice,
    }  # fmt: skip
    if in_parts:
        from swav_cli.tasks.extract_parts import write_parts

        if out is None:
            raise UserError("--part and --engine take shards, and write a folder of parts; name it with --out DIR/")
        with screen.counting("B", "extracting") as progress:
            result = write_parts(
                inputs or [], out, model, part=part, engine=engine, devices=devices, progress=progress, **given
            )
        screen.notice(_closing_of_parts(result))
    else:
        from swav_cli.tasks.extract import write_features

        with screen.counting("pictures") as progress:
            result = write_features(inputs or [], out, model, progress=progress, indexing=screen.indexing, **given)
        for line in _closing(result):
            screen.notice(line)
    if as_json:
        print_json(result)


def _closing_of_parts(result: dict[str, Any]) -> str:
    parts, new, unread = result["parts"], result["new"], result["unread"]
    before = f" ({parts - new:,} were there)" if 0 < new < parts else "" if new else " (all were there)"
    shape = " x ".join(f"{side:,}" for side in result["shape"])
    bad = f"; {counted(unread, 'row')} of NaN, whose column error tells why" if unread else ""
    return (
        f"{'wrote ' if new else ''}{result['folder']}: {counted(parts, 'part')}{before}, {shape}, {result['layer']} of "
        f"{result['model']}{bad}"
    )


def _closing(result: dict[str, Any]) -> list[str]:
    shape = " x ".join(f"{side:,}" for side in result["shape"])
    failures = result["failures"]
    lines = [f"{'wrote ' if result['new'] else ''}{result['file']}: {shape}, {result['layer']} of {result['model']}"]
    lines += [f"  row {each['row']} is NaN: {each['path']}: {each['reason']}" for each in failures[:SHOWN]]
    if len(failures) > SHOWN:
        lines.append(f"  and {len(failures) - SHOWN:,} more; all are in {result['description']}")
    return lines

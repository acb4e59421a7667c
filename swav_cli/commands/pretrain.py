"""`swav pretrain`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swav_cli.commands.classifier_options import Devices, start_processes
from swav_cli.completions import recipe_names
from swav_cli.data.paths import expanded
from swav_cli.data.shards.names import is_stream
from swav_cli.errors import UserError
from swav_cli.writable import check_place

if TYPE_CHECKING:
    from swav_cli.core.micro_batch import MicroBatch
    from swav_cli.recipe.schema import Recipe


def pretrain(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe's file, the name of a shipped one (see: swav recipes), or a folder of pictures.",
            metavar="RECIPE",
            autocompletion=recipe_names,
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="Pictures in place of the recipe's: folder, list of files, shards (.tar), torchvision:NAME, "
            "shapes:COUNT; or a stream of shards, https://HOST/{000..146}.tar or pipe:COMMAND, with "
            "--set data.stream_pictures=N. Labelled ones to judge by: --set data.val=PATH."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; else runs/<recipe name>.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override any value of the recipe; repeatable."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the pictures.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures a step, over all processes.")] = None,
    micro_batch: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="Pictures of a process that go through the network at a time; auto: as many as fit into a GPU. Codes "
            "still come from the whole batch.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    devices: Devices = None,
    workers: Annotated[int | None, typer.Option(help="Processes that read pictures.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and crops.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, float32 or bf16.")] = None,
    resume: Annotated[
        bool, typer.Option(help="Go on where the run was stopped; else begin a new one in the next free folder.")
    ] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin again and replace the run that is there.")
    ] = False,
    init_from: Annotated[
        str | None, typer.Option(metavar="MODEL_OR_FILE", help="Start from the weights of a run or a file.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the settled recipe and what it needs; write nothing.")
    ] = False,
    preview: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Write a sheet of one batch's crops; train nothing.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")] = False,
) -> None:
    """Train SwAV on pictures without labels.

    swav pretrain quickstart
    swav pretrain photos/ --epochs 50
    swav pretrain in1k-200e --data imagenet/train --set data.val=imagenet/val

    A run that was stopped goes on when the same command is typed again.
    """
    from swav_cli.recipe.file import load_recipe, shipped_recipes

    options = {
        "training.epochs": epochs,
        "training.batch_size": batch_size,
        "training.workers": workers,
        "training.seed": seed,
        "training.precision": precision,
    }
    if os.path.isdir(expanded(recipe)) and recipe not in shipped_recipes():  # cifar10 is the recipe, cifar10/ a folder
        if data is not None:
            raise UserError(f"{recipe} is a folder of pictures already; leave --data out, or name a recipe")
        data, recipe = recipe, "small-folder"
    overrides = [f"{key}={json.dumps(value)}" for key, value in options.items() if value is not None]
    if data is not None:
        # The recipe's labelled pictures belong to the pictures that are replaced; --set may name others.
        overrides += [f"data.train={json.dumps(data)}", "data.val=null", "data.bank=null"]
        overrides += [] if is_stream(data) else ["data.stream_pictures=null"]
    settings = load_recipe(recipe, [*overrides, *(assignments or [])])

    if dry_run or preview is not None:
        if init_from is not None:
            from swav_cli.zoo.load import check_known

            check_known(init_from)
        _look_ahead(settings, devices, device, _micro_batch(micro_batch), dry_run, preview, as_json)
        return
    start_processes(devices, device)
    from swav_cli.parallel.processes import is_first
    from swav_cli.report.console import Screen
    from swav_cli.tasks.pretrain import pretrain as train

    results = train(
        settings, out, device=device, resume=resume, overwrite=overwrite, init_from=init_from,
        micro_batch=_micro_batch(micro_batch),
        screen=Screen(speaks=is_first()),
    )  # fmt: skip
    if as_json and is_first():
        print(json.dumps(results), flush=True)


def _micro_batch(given: str | None) -> MicroBatch | None:
    if given is None or given == "auto":
        return given  # type: ignore[return-value]
    if not given.isdecimal() or int(given) < 2:
        raise UserError(f"--micro-batch {given}: write a number of pictures from 2 on, or auto")
    return int(given)


def _look_ahead(
    recipe: Recipe,
    devices: int | None,
    device: str,
    micro_batch: MicroBatch | None,
    dry_run: bool,
    preview: Path | None,
    as_json: bool,
) -> None:
    """What would be trained, in words or as a picture."""
    from swav_cli.data.inputs import refuse_to_replace
    from swav_cli.data.pictures import tell
    from swav_cli.data.shards.streams import StreamPictures
    from swav_cli.report.plan import plan_facts, plan_text
    from swav_cli.report.sheet import save_crops
    from swav_cli.tasks.pretrain import check_processes, preview_views, settle

    if preview is not None:
        preview = expanded(preview)
        check_place(preview, "--preview")
    settled = settle(recipe, device, micro_batch)
    check_processes(settled.recipe, devices or 1)
    tell(settled.pictures, lambda text: print(text, file=sys.stderr))
    if preview is not None:
        if not isinstance(settled.pictures, StreamPictures):
            refuse_to_replace((), settled.pictures, [preview])
        save_crops(preview, *preview_views(settled))
        print(f"wrote {preview}", file=sys.stderr)
    if dry_run:
        facts = plan_facts(settled.recipe, settled.derived, len(settled.pictures), str(settled.device))
        print(json.dumps(facts) if as_json else plan_text(settled.recipe, facts), flush=True)

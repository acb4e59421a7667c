"""`swav pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swav_cli.commands import options
from swav_cli.commands.output import print_json, print_plan
from swav_cli.completions import model_names, recipe_names
from swav_cli.errors import UserError
from swav_cli.parallel.place import is_first
from swav_cli.report.trackers.names import tracker_names

if TYPE_CHECKING:
    from swav_cli.planning.micro_batch import MicroBatch


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
            metavar="PATH",
            help="Pictures in place of the recipe's: folder, list of files, shards (.tar), torchvision:NAME, "
            "shapes:COUNT; or a stream of shards, https://HOST/{000..146}.tar or pipe:COMMAND, with "
            "--set data.stream_pictures=N. Labelled ones to judge by: --set data.val=PATH.",
        ),
    ] = None,
    out: Annotated[Path | None, options.out_folder("runs/<recipe name>")] = None,
    assignments: options.Assignments = None,
    epochs: options.Epochs = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Plan the run to so many minutes: network, crops, epochs and batch follow from what this machine is "
            "measured to do. What is set otherwise stays as it is set.",
        ),
    ] = None,
    batch_size: options.RecipeBatchSize = None,
    micro_batch: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="Pictures of a process that go through the network at a time; auto: as many as fit into a GPU. Codes "
            "still come from the whole batch.",
        ),
    ] = None,
    device: options.Device = "auto",
    devices: options.Devices = None,
    workers: options.Workers = None,
    seed: options.Seed = None,
    precision: options.RecipePrecision = None,
    resume: options.Resume = True,
    overwrite: options.Overwrite = False,
    init_from: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL_OR_FILE",
            help="Start from the weights of a run, a file, a published model or timm:NAME, whose network is taken; "
            "none: from scratch.",
            show_default="what the recipe says",
            autocompletion=model_names,
        ),
    ] = None,
    dry_run: options.DryRun = False,
    track: options.Track = None,
    preview: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Write a sheet of one batch's crops; train nothing.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Train SwAV on pictures without labels.

    swav pretrain quickstart
    swav pretrain photos/ --epochs 50
    swav pretrain photos/ --minutes 20
    swav pretrain in1k-200e --data imagenet/train --set data.val=imagenet/val

    A run that was stopped goes on when the same command is typed again.
    """
    values = options.training_values(epochs, batch_size, precision, workers, seed)
    from swav_cli.tasks.recipes import keys_set, pretraining_recipe

    given = options.overrides(values, assignments)
    settings, held = pretraining_recipe(recipe, data, given), keys_set(given)
    part, trackers = _micro_batch(micro_batch), tracker_names(track, "--track")
    if dry_run or preview is not None:
        from swav_cli.report.console import Screen
        from swav_cli.tasks.pretrain_minutes import Asked
        from swav_cli.tasks.pretrain_plan import plan_pretraining

        facts = plan_pretraining(
            settings, device, micro_batch=part, init_from=init_from, processes=devices or 1, preview=preview,
            asked=Asked(minutes, held), screen=Screen(is_first()),
        )  # fmt: skip
        if dry_run:
            print_plan(facts, as_json)
        return
    options.start_processes(devices, device)
    from swav_cli.report.console import Screen
    from swav_cli.tasks.pretrain import pretrain as train

    results = train(
        settings, out, device=device, resume=resume, overwrite=overwrite, init_from=init_from, micro_batch=part,
        track=trackers, minutes=minutes, held=held, screen=Screen(speaks=is_first()),
    )  # fmt: skip
    if as_json:
        print_json(results)


def _micro_batch(given: str | None) -> MicroBatch | None:
    if given is None or given == "auto":
        return given  # type: ignore[return-value]
    if not given.isdecimal() or int(given) < 2:
        raise UserError(f"--micro-batch {given}: write a number of pictures from 2 on, or auto")
    return int(given)

"""`swav doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from swav_cli.commands import options
from swav_cli.commands.output import print_json, print_result
from swav_cli.completions import recipe_names
from swav_cli.errors import UserError
from swav_cli.parallel.place import is_first


def doctor(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="What `swav pretrain` would be given: a recipe, or a folder of pictures.",
            show_default="the machine and the installation alone",
            autocompletion=recipe_names,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Pictures in place of the recipe's; without a recipe, for that of small folders."
        ),
    ] = None,
    out: Annotated[Path | None, options.out_folder("runs/<recipe name>")] = None,
    assignments: options.Assignments = None,
    epochs: options.Epochs = None,
    batch_size: options.RecipeBatchSize = None,
    device: options.Device = "auto",
    workers: options.Workers = None,
    precision: options.RecipePrecision = None,
    minutes: Annotated[
        float,
        typer.Option(metavar="M", min=0.1, help="Time for looking at pictures and for measuring, roughly."),
    ] = 1.0,
    quick: Annotated[bool, typer.Option("--quick", help="Measure nothing, and look at few pictures.")] = False,
    report: Annotated[
        bool,
        typer.Option(
            "--report", help="Print a block to paste into a bug report: no home folder, no user's or machine's name."
        ),
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Check what a person checks before a week of a GPU; writes nothing.

    swav doctor
    swav doctor quickstart
    swav doctor in1k-200e --data imagenet/train --minutes 5
    swav doctor photos/ --quick
    swav doctor --report

    Without a recipe: Python, packages, devices, precision, memory, limits, disks.
    With one, told as to `swav pretrain`: its pictures (broken, sizes, copies,
    classes), contradictions and risks, reading against training, the largest
    batch that fits, time and disk.

    Exit code: 0 where all is ok or a warning, 1 where something is a problem,
    2 where it can't be looked at.
    """
    if report and as_json:
        raise UserError("--report and --json exclude each other; leave one out")
    values = options.training_values(epochs, batch_size, precision, workers, None)
    overrides = options.overrides(values, assignments)
    settings, held = None, list[str]()
    if recipe is not None or data is not None:
        from swav_cli.recipe.usual import FOLDER
        from swav_cli.tasks.recipes import keys_set, pretraining_recipe

        settings, held = pretraining_recipe(recipe or FOLDER, data, overrides), keys_set(overrides)
    elif overrides or out is not None:
        raise UserError("options of a recipe need one; name it, such as: swav doctor quickstart")
    from swav_cli.report.checkup import checkup_json, checkup_report, checkup_text, worst
    from swav_cli.report.console import Screen
    from swav_cli.tasks.doctor.examine import examine

    screen = Screen(speaks=is_first())
    found = examine(settings, out, device=device, minutes=minutes, quick=quick, held=held, screen=screen)
    if as_json:
        print_json(checkup_json(found))
    else:
        print_result(checkup_report(found) if report else checkup_text(found))
    if worst(found) == "problem":
        raise typer.Exit(1)

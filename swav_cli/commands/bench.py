"""`swav bench`."""

from __future__ import annotations

from typing import Annotated

import typer

from swav_cli.commands import options
from swav_cli.commands.output import print_json, print_result
from swav_cli.completions import recipe_names
from swav_cli.parallel.place import is_first
from swav_cli.recipe.usual import FIRST, FOLDER


def bench(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="What `swav pretrain` would be given: a recipe, or a folder of pictures.",
            show_default=f"{FIRST}; with --data, {FOLDER}",
            autocompletion=recipe_names,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Pictures to measure with, in any form that `swav pretrain` reads from a disk.",
            show_default="the recipe's where they are there, else made-up ones",
        ),
    ] = None,
    assignments: options.Assignments = None,
    batch_size: options.RecipeBatchSize = None,
    device: options.Device = "auto",
    workers: options.Workers = None,
    precision: options.RecipePrecision = None,
    minutes: Annotated[
        float, typer.Option(metavar="M", min=0.01, help="Time for all of it; what finds none in it says so.")
    ] = 2.0,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…",
            help="Measure so much of it: reading, limits, step, run, inference, compile.",
            show_default="all",
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure how quick this machine is at a recipe, and tell what bounds it.

    swav bench
    swav bench in1k-200e --data imagenet/train --minutes 5
    swav bench photos/ --json
    swav bench cifar10 --batch-size 512

    Reading, a step and its parts, eager and compiled, from pictures to weights,
    inference, memory, and the share of what a matrix product and a copy give.
    Trains nothing and writes nothing.
    """
    from swav_cli.tasks.recipes import pretraining_recipe

    overrides = options.overrides(options.training_values(None, batch_size, precision, workers, None), assignments)
    settings = pretraining_recipe(recipe or (FOLDER if data is not None else FIRST), data, overrides)
    are_named = data is not None or settings.data.train == recipe
    from swav_cli.report.bench import bench_json, bench_text
    from swav_cli.report.console import Screen
    from swav_cli.tasks.bench.measure import bench as measure

    found = measure(
        settings, device=device, minutes=minutes, are_named=are_named, only=only.split(",") if only is not None else (),
        screen=Screen(speaks=is_first()),
    )  # fmt: skip
    print_json(bench_json(found)) if as_json else print_result(bench_text(found))

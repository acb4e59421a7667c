"""`swav linear-eval`."""

from __future__ import annotations

from typing import Annotated

import typer

from swav_cli.commands import options
from swav_cli.commands.output import print_classifier, print_plan
from swav_cli.errors import UserError
from swav_cli.parallel.place import is_first
from swav_cli.recipe.usual import LINEAR
from swav_cli.report.trackers.names import tracker_names


def linear_eval(
    model: options.Pretrained = None,
    recipe: Annotated[str | None, options.recipe_option(LINEAR)] = None,
    data: options.Data = None,
    val: options.Val = None,
    labels: options.Labels = None,
    cached: Annotated[
        bool, typer.Option("--cached", help="Compute features once, then try a grid of settings on them at once.")
    ] = False,
    layers: Annotated[
        str | None, typer.Option(metavar="A,B", help="Judge these feature maps too, such as layer2,layer3.")
    ] = None,
    plot: options.Plot = None,
    out: options.ClassifierFolder = None,
    assignments: options.Assignments = None,
    epochs: options.Epochs = None,
    batch_size: options.RecipeBatchSize = None,
    device: options.Device = "auto",
    devices: options.Devices = None,
    precision: options.RecipePrecision = None,
    workers: options.Workers = None,
    seed: options.Seed = None,
    resume: options.Resume = True,
    overwrite: options.Overwrite = False,
    track: options.Track = None,
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
) -> None:
    """Judge a model by a linear classifier on its frozen features.

    swav linear-eval
    swav linear-eval runs/quickstart --cached
    swav linear-eval swav-800e --data imagenet/train --val imagenet/val
    swav linear-eval runs/mine --data photos/ --plot confusion.png

    The pictures need labels: a folder a class, or a table with path and label.
    Nothing named: those of the model's own run; a fifth is held out to judge by
    where no others are named. The result is a model that predict, eval and
    export take. Stopped work goes on when the same command is typed again.
    """
    trackers = tracker_names(track, "--track")
    if cached and trackers:
        raise UserError(
            "--cached and --track: there are no steps to tell of; swav track RUN --to NAME tells the results"
        )
    values = options.training_values(epochs, batch_size, precision, workers, seed)
    values |= {"data.train": data, "data.val": val, "data.labels": labels}
    if layers is not None:
        if cached:
            raise UserError("--layers and --cached: the grid is on the pooled features; leave one out")
        names = [name.strip() for name in layers.split(",")]
        values["layers"] = [name for name in names if name and name != "pooled"]
    from swav_cli.tasks.recipes import linear_recipe

    settings = linear_recipe(model, recipe, options.overrides(values, assignments))
    if dry_run:
        from swav_cli.report.console import Screen
        from swav_cli.tasks.classifier_job import plan_classifier

        print_plan(plan_classifier(settings, device, 1 if cached else devices or 1, Screen(is_first())), as_json)
        return
    options.start_processes(devices, device)
    from swav_cli.report.console import Screen
    from swav_cli.tasks.linear_eval import linear_eval as judge

    screen = Screen(is_first(), "loss")
    results = judge(
        settings, out, cached=cached, device=device, resume=resume, overwrite=overwrite, track=trackers, screen=screen
    )
    print_classifier(results, plot, as_json)

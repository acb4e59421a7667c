"""`swav linear-eval`."""

from __future__ import annotations

from typing import Annotated

import typer

from swav_cli.commands import classifier_options as options
from swav_cli.errors import UserError


def linear_eval(
    model: options.ModelArgument = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A recipe's name or file.",
            show_default="linear-small for pictures up to 96 pixels, else linear-in1k",
            autocompletion=options.linear_recipes,
        ),
    ] = None,
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
    out: options.Out = None,
    assignments: options.Assignments = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    device: options.Device = "auto",
    devices: options.Devices = None,
    precision: options.Precision = None,
    workers: options.Workers = None,
    seed: options.Seed = None,
    resume: options.Resume = True,
    overwrite: options.Overwrite = False,
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
    from swav_cli.recipe.classifier_schema import LinearRecipe
    from swav_cli.recipe.file import load_as

    named = options.overrides(model, data, val, labels, epochs, batch_size, precision, workers, seed)
    if layers is not None:
        names = [name.strip() for name in layers.split(",") if name.strip() and name.strip() != "pooled"]
        if cached:
            raise UserError("--layers and --cached: the grid is on the pooled features; leave one out")
        named.append(f"layers=[{', '.join(names)}]")
    chosen = recipe or options.usual_recipe(model, "linear-small", "linear-in1k")
    settings = load_as(LinearRecipe, chosen, [*named, *(assignments or [])])
    plot = options.checked_plot(plot)
    if dry_run:
        options.print_plan(settings, None if cached else devices, device, as_json)
        return
    options.start_processes(devices, device)
    if cached:
        from swav_cli.tasks.linear_eval_cached import probe_classifier as train
    else:
        from swav_cli.tasks.classifier import train_classifier as train
    options.tell(
        lambda screen: train(settings, out, device=device, resume=resume, overwrite=overwrite, screen=screen),
        plot,
        as_json,
    )

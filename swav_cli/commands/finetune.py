"""`swav finetune`."""

from __future__ import annotations

from typing import Annotated

import typer

from swav_cli.commands import classifier_options as options


def finetune(
    model: options.ModelArgument = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A recipe's name or file.",
            show_default="finetune-small for pictures up to 96 pixels, else finetune-in1k-10pct",
            autocompletion=options.finetune_recipes,
        ),
    ] = None,
    data: options.Data = None,
    val: options.Val = None,
    labels: options.Labels = None,
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
    """Train a model further with labels, the backbone too.

    swav finetune --data photos/
    swav finetune runs/quickstart --labels 10%
    swav finetune swav-800e --recipe finetune-in1k-1pct --data imagenet/train --val imagenet/val

    --labels takes all, a share of each class (10%), a number of pictures a class
    (25), or a file that lists pictures, such as the published lists of 1 and 10 %
    of ImageNet. Which pictures were used stands in the run's labelled.txt.
    Stopped work goes on when the same command is typed again.
    """
    from swav_cli.recipe.classifier_schema import FinetuneRecipe
    from swav_cli.recipe.file import load_as

    named = options.overrides(model, data, val, labels, epochs, batch_size, precision, workers, seed)
    chosen = recipe or options.usual_recipe(model, "finetune-small", "finetune-in1k-10pct")
    settings = load_as(FinetuneRecipe, chosen, [*named, *(assignments or [])])
    plot = options.checked_plot(plot)
    if dry_run:
        options.print_plan(settings, devices, device, as_json)
        return
    options.start_processes(devices, device)
    from swav_cli.tasks.classifier import train_classifier

    options.tell(
        lambda screen: train_classifier(
            settings, out, device=device, resume=resume, overwrite=overwrite, screen=screen
        ),
        plot,
        as_json,
    )

"""`swav finetune`."""

from __future__ import annotations

from typing import Annotated

from swav_cli.commands import options
from swav_cli.commands.output import print_classifier, print_plan
from swav_cli.parallel.place import is_first
from swav_cli.recipe.usual import FINETUNE
from swav_cli.report.trackers.names import tracker_names


def finetune(
    model: options.Pretrained = None,
    recipe: Annotated[str | None, options.recipe_option(FINETUNE)] = None,
    data: options.Data = None,
    val: options.Val = None,
    labels: options.Labels = None,
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
    """Train a model further with labels, the backbone too.

    swav finetune --data photos/
    swav finetune runs/quickstart --labels 10%
    swav finetune swav-800e --recipe finetune-in1k-1pct --data imagenet/train --val imagenet/val

    --labels takes all, a share of each class (10%), a number of pictures a class
    (25), or a file that lists pictures, such as the published lists of 1 and 10 %
    of ImageNet. Which pictures were used stands in the run's labelled.txt.
    Stopped work goes on when the same command is typed again.
    """
    trackers = tracker_names(track, "--track")
    values = options.training_values(epochs, batch_size, precision, workers, seed)
    values |= {"data.train": data, "data.val": val, "data.labels": labels}
    from swav_cli.tasks.recipes import finetune_recipe

    settings = finetune_recipe(model, recipe, options.overrides(values, assignments))
    if dry_run:
        from swav_cli.report.console import Screen
        from swav_cli.tasks.classifier_job import plan_classifier

        print_plan(plan_classifier(settings, device, devices or 1, Screen(is_first())), as_json)
        return
    options.start_processes(devices, device)
    from swav_cli.report.console import Screen
    from swav_cli.tasks.classifier import train_classifier

    results = train_classifier(
        settings, out, device=device, resume=resume, overwrite=overwrite, track=trackers,
        screen=Screen(is_first(), "loss"),
    )  # fmt: skip
    print_classifier(results, plot, as_json)

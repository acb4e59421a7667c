"""`swav eval`."""

from __future__ import annotations

from typing import Annotated

import typer

from swav_cli.commands import options
from swav_cli.commands.output import print_json
from swav_cli.parallel.place import is_first


def evaluate(
    model: Annotated[str | None, options.model_argument("the newest run")] = None,
    linear: options.Linear = None,
    data: Annotated[str | None, options.labelled("Labelled pictures to judge by")] = None,
    bank: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Labelled pictures that k-NN learns from.",
            show_default="the train part of --data, else the others of --data",
        ),
    ] = None,
    tta: Annotated[
        bool, typer.Option("--tta", help="Classifiers: the mean answer to a picture and its mirror image.")
    ] = False,
    svm: Annotated[
        bool, typer.Option("--svm", help="Linear SVMs on frozen features, costs chosen by cross-validation.")
    ] = False,
    plot: options.Plot = None,
    device: options.Device = "auto",
    devices: options.Devices = None,
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    as_json: options.AsJson = False,
) -> None:
    """Tell how good a model is, in numbers that can be quoted.

    swav eval
    swav eval runs/quickstart --json
    swav eval swav-800e --data imagenet
    swav eval runs/quickstart-linear-small --plot confusion.png
    swav eval swav-800e --svm --data voc07-test.csv --bank voc07-trainval.csv

    A classifier: top-1 and top-5. Another model: k-NN and clusters against labels
    where there are labels, and always numbers that need none, beside those of an
    untrained network of the same shape. --svm: accuracy, or mean average precision
    where a table's column `labels` holds several, such as dog;person.
    What is found joins results.json in the run.
    """
    options.start_processes(devices, device)
    from swav_cli.report.console import Screen
    from swav_cli.tasks.eval import judge

    results = judge(
        model, linear=linear, data=data, bank=bank, flip=tta, svm=svm, plot=plot, device=device, precision=precision,
        batch_size=batch_size, workers=workers, screen=Screen(speaks=is_first()),
    )  # fmt: skip
    if as_json:
        print_json(results)

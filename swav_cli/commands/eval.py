"""`swav eval`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from swav_cli.commands.classifier_options import AsJson, Device, Devices, Linear, Plot, checked_plot, start_processes
from swav_cli.errors import UserError


def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A run's folder, a file of weights, a URL or a published model.",
            show_default="the newest run",
        ),
    ] = None,
    linear: Linear = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Labelled pictures to judge by: a folder a class, a folder with train and val, a table with path and "
            "label, torchvision:NAME.",
            show_default="those of the model's run",
        ),
    ] = None,
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
    plot: Plot = None,
    device: Device = "auto",
    devices: Devices = None,
    precision: Annotated[str, typer.Option(help="auto, float32 or bf16.")] = "auto",
    batch_size: Annotated[int | None, typer.Option(help="Pictures at a time; numbers don't depend on it.", min=1)] = (
        None
    ),
    workers: Annotated[int | None, typer.Option(help="Processes that read pictures.", min=0)] = None,
    as_json: AsJson = False,
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
    plot = checked_plot(plot)
    start_processes(devices, device)
    from swav_cli.parallel.processes import is_first
    from swav_cli.report.console import Screen

    screen = Screen(speaks=is_first())
    if svm:
        from swav_cli.tasks.eval_svm import judge_by_svm

        for option, given in (("--tta", tta), ("--plot", plot is not None), ("--linear", linear is not None)):
            if given:
                raise UserError(f"{option} and --svm exclude each other; leave one out")
        results = judge_by_svm(
            model, data=data, bank=bank, device=device, precision=precision, batch_size=batch_size,
            workers=workers, screen=screen,
        )  # fmt: skip
    else:
        from swav_cli.tasks.eval import judge

        results = judge(
            model, linear=linear, data=data, bank=bank, flip=tta, plot=plot, device=device, precision=precision,
            batch_size=batch_size, workers=workers, screen=screen,
        )  # fmt: skip
    if as_json and is_first():
        from swav_cli.files import json_ready

        print(json.dumps(json_ready(results)), flush=True)

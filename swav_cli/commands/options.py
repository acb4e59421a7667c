"""Each option and argument that several commands have, declared once; and options read as a recipe's values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from swav_cli.completions import model_names, recipe_names, tracker_names
from swav_cli.recipe.usual import SMALL

# --- what is read ----------------------------------------------------------------------------------------------------

MODEL = "A run's folder, a file of weights, a URL, a published model, or timm:NAME, whose weights timm fetches once."


def model_argument(left_out: str | bool = False) -> Any:
    return typer.Argument(metavar="MODEL", help=MODEL, show_default=left_out, autocompletion=model_names)


def model_option(left_out: str) -> Any:
    return typer.Option("--model", metavar="MODEL", help=MODEL, show_default=left_out, autocompletion=model_names)


Pretrained = Annotated[str | None, model_argument("the newest run that was pretrained")]
Linear = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="A linear classifier saved by itself, as eval_linear.py does; joined to the model."
    ),
]


def inputs(left_out: str | bool = False) -> Any:
    return typer.Argument(
        metavar="INPUT",
        help="Pictures, folders, patterns such as 'photos/*.jpg', list files, shards (.tar), torchvision:NAME, "
        "shapes:COUNT, or - for paths on standard input.",
        show_default=left_out,
    )


def labelled(pictures: str) -> Any:
    return typer.Option(
        metavar="PATH",
        help=f"{pictures}: a folder a class, a folder with train and val, a table with path and label, "
        "torchvision:NAME.",
        show_default="those of the model's run",
    )


Data = Annotated[str | None, labelled("Labelled pictures")]
Val = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="Labelled pictures to judge by.", show_default="the run's, or a fifth held out"),
]
Labels = Annotated[
    str | None,
    typer.Option(metavar="all|10%|N|FILE", help="Which labels are used: a share, a number a class, or those listed."),
]

# --- a recipe and its values -----------------------------------------------------------------------------------------


def recipe_option(usual: tuple[str, str]) -> Any:
    """The name of a classifier's recipe; those for small pictures and for others are meant where none is named."""
    small, large = usual
    kind = small.partition("-")[0]

    def names(incomplete: str) -> list[str]:
        return [name for name in recipe_names(incomplete) if name.startswith(kind)]

    return typer.Option(
        "--recipe",
        metavar="NAME",
        help="A recipe's name or file.",
        show_default=f"{small} for pictures up to {SMALL} pixels, else {large}",
        autocompletion=names,
    )


Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override any value of the recipe; repeatable.")
]
Epochs = Annotated[int | None, typer.Option(metavar="N", help="Passes over the pictures.")]
RecipeBatchSize = Annotated[int | None, typer.Option(metavar="N", min=1, help="Pictures a step, over all processes.")]
Seed = Annotated[
    int | None, typer.Option(metavar="N", help="Of all that is drawn: weights, order, crops, the labels used.")
]


def training_values(
    epochs: int | None, batch_size: int | None, precision: str | None, workers: int | None, seed: int | None
) -> dict[str, object]:
    """These options by their keys in any recipe."""
    return {
        "training.epochs": epochs,
        "training.batch_size": batch_size,
        "training.precision": precision,
        "training.workers": workers,
        "training.seed": seed,
    }


def overrides(values: Mapping[str, object], assignments: Sequence[str] | None) -> list[str]:
    """Options that were given, as the `--set` of the same meaning; what is written with --set comes last and holds."""
    given = [f"{key}={json.dumps(value)}" for key, value in values.items() if value is not None]
    return [*given, *(assignments or [])]


Track = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,…",
        help="Tell trackers of the run: tensorboard, wandb, trackio, mlflow, swanlab; or none.",
        show_default="those that the run told before",
        autocompletion=tracker_names,
    ),
]

# --- where it computes -----------------------------------------------------------------------------------------------

PRECISION = "auto, float32 or bf16."

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Devices = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Processes on this machine, one a GPU; torchrun starts its own.")
]
Precision = Annotated[str, typer.Option(help=PRECISION)]
RecipePrecision = Annotated[str | None, typer.Option(help=PRECISION)]
BatchSize = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Pictures at a time; what comes out does not depend on it.",
        show_default="as suits the device",
    ),
]
Workers = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="Processes that read pictures; else as many as help.")
]


def start_processes(devices: int | None, device: str) -> None:
    """With --devices run this command in so many processes, and end with their exit code."""
    if devices is None or devices == 1:
        return
    from swav_cli.core.device import pick_device
    from swav_cli.parallel.launching import is_to_launch, launch

    if is_to_launch(devices):
        raise typer.Exit(launch(devices, device, pick_device(device)))


# --- what is written -------------------------------------------------------------------------------------------------


def out_folder(left_out: str) -> Any:
    return typer.Option("--out", metavar="DIR", help=f"The run's folder; else {left_out}.")


ClassifierFolder = Annotated[Path | None, out_folder("runs/<model>-<recipe>")]


def resume(otherwise: str) -> Any:
    return typer.Option(help=f"Go on where the same command was stopped; else {otherwise}.")


Resume = Annotated[bool, resume("begin a new run in the next free folder")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Begin again and replace what is there.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the settled recipe and its plan; write nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def _checked_plot(plot: Path | None) -> Path | None:
    if plot is None:
        return None
    from swav_cli.report.confusion import drawing_place

    return drawing_place(plot, "--plot")


Plot = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.png",
        help="Draw which classes are taken for which; needs swav-cli with its extra `report`.",
        callback=_checked_plot,
    ),
]

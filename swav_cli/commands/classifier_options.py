"""What `swav linear-eval` and `swav finetune` share: their options, and how they tell of their work."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swav_cli.completions import recipe_names
from swav_cli.data.paths import expanded
from swav_cli.errors import UserError
from swav_cli.writable import check_place

if TYPE_CHECKING:
    from swav_cli.recipe.classifier_schema import FinetuneRecipe, LinearRecipe
    from swav_cli.report.console import Screen

SMALL = 96  # pixels: up to here the recipes for small pictures are meant

ModelArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help="A run's folder, a file of weights, a URL or a published model.",
        show_default="the newest run that was pretrained",
    ),
]
Linear = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A linear classifier saved by itself, as eval_linear.py does; joined to the model.",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Labelled pictures: a folder a class, a folder with train and val, a table with path and label, "
        "torchvision:NAME.",
        show_default="those of the model's run",
    ),
]
Val = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="Labelled pictures to judge by.", show_default="the run's, or a fifth held out"),
]
Labels = Annotated[
    str | None,
    typer.Option(metavar="all|10%|N|FILE", help="Which labels are used: a share, a number a class, or those listed."),
]
Plot = Annotated[
    Path | None,
    typer.Option(metavar="FILE.png", help="Draw which classes are taken for which; needs swav-cli[report]."),
]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="The run's folder; else runs/<model>-<recipe>.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override any value of the recipe; repeatable.")
]
Epochs = Annotated[int | None, typer.Option(help="Passes over the pictures.")]
BatchSize = Annotated[int | None, typer.Option(help="Pictures a step, over all processes.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Devices = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Processes on this machine, one a GPU; torchrun starts its own.")
]
Precision = Annotated[str | None, typer.Option(help="auto, float32 or bf16.")]
Workers = Annotated[int | None, typer.Option(help="Processes that read pictures.")]
Seed = Annotated[int | None, typer.Option(help="Of the new layer, the labels used, order and crops.")]
Resume = Annotated[
    bool, typer.Option(help="Go on where the run was stopped; else begin a new one in the next free folder.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Begin again and replace the run that is there.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the settled recipe and its plan; write nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def linear_recipes(incomplete: str) -> list[str]:
    return [name for name in recipe_names(incomplete) if name.startswith("linear-")]


def finetune_recipes(incomplete: str) -> list[str]:
    return [name for name in recipe_names(incomplete) if name.startswith("finetune-")]


def overrides(
    model: str | None,
    data: str | None,
    val: str | None,
    labels: str | None,
    epochs: int | None,
    batch_size: int | None,
    precision: str | None,
    workers: int | None,
    seed: int | None,
) -> list[str]:
    """Options as the `--set` of the same meaning."""
    named = {
        "model": model,
        "data.train": data,
        "data.val": val,
        "data.labels": labels,
        "training.epochs": epochs,
        "training.batch_size": batch_size,
        "training.precision": precision,
        "training.workers": workers,
        "training.seed": seed,
    }
    return [f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None]


def usual_recipe(model: str | None, small: str, large: str) -> str:
    """By the size of the pictures that the model's run has; a model of no run is taken to be ImageNet's."""
    from swav_cli.run.newest import newest_run
    from swav_cli.run.pictures import pretraining_of

    source = model or newest_run(pretrained=True)
    recipe = pretraining_of(source) if source else None
    return small if recipe is not None and max(crop.size for crop in recipe.crops) <= SMALL else large


def checked_plot(plot: Path | None) -> Path | None:
    """Nothing is trained for a picture that can't be drawn in the end."""
    if plot is None:
        return None
    from swav_cli.report.confusion import check_drawing

    plot = expanded(plot)
    check_drawing(plot)
    if not os.path.isdir(plot.absolute().parent):
        raise UserError(f"--plot {plot}: there is no folder {plot.parent}; make it first")
    check_place(plot, "--plot")
    return plot


def print_plan(recipe: LinearRecipe | FinetuneRecipe, devices: int | None, device: str, as_json: bool) -> None:
    """The settled recipe and what it will do, once it is sure that so many processes can share it."""
    import sys

    from swav_cli.recipe.file import dump_recipe
    from swav_cli.tasks.classifier_job import check_processes, plan_facts, settle

    job = settle(recipe, device, lambda text: print(text, file=sys.stderr))
    check_processes(job.recipe, devices or 1)
    facts = plan_facts(job)
    if as_json:
        print(json.dumps(facts), flush=True)
        return
    lines = [dump_recipe(job.recipe).rstrip(), "", *(f"# {line.strip()}" for line in facts["plan"])]
    print("\n".join(lines), flush=True)


def tell(work: Callable[[Screen], dict[str, Any]], plot: Path | None, as_json: bool) -> None:
    """Do the work with a screen; of several processes the first one speaks for all."""
    from swav_cli.parallel.processes import is_first
    from swav_cli.report.console import Screen

    results = work(Screen(is_first(), "loss"))
    if is_first() and as_json:
        print(json.dumps(results), flush=True)
    if is_first() and plot is not None:
        from swav_cli.tasks.classifier import plot_confusion

        plot_confusion(Path(results["run"]), plot)


def start_processes(devices: int | None, device: str) -> None:
    """With --devices run this command in so many processes, and end with their exit code."""
    if devices is None or devices == 1:
        return
    from swav_cli.core.device import pick_device
    from swav_cli.parallel.launching import is_to_launch, launch

    if is_to_launch(devices):
        raise typer.Exit(launch(devices, device, pick_device(device)))

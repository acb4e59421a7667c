"""`swav extract`."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swav_cli.errors import Interrupted, UserError

if TYPE_CHECKING:
    from tqdm import tqdm

PLAIN_SECONDS = 15.0  # between lines where there is no terminal
SHOWN = 10  # failures told of one by one


def extract(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="Pictures, folders, patterns, a list file, '-' for paths on standard input, torchvision:NAME or "
            "shapes:COUNT.",
            show_default="the pictures of the model's own run",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A run's folder, a file of weights, or a published model.",
            show_default="the newest run",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Ends in .npy, .npz, .safetensors, .parquet, .csv or .pt.",
            show_default="features.npy beside the run",
        ),
    ] = None,
    layer: Annotated[
        str, typer.Option(help="pooled, embedding, scores, logits, probabilities; or a map: stem, layer1 to layer4.")
    ] = "pooled",
    normalize: Annotated[bool, typer.Option("--normalize", help="Give each row length 1.")] = False,
    multi_scale: Annotated[
        bool, typer.Option("--multi-scale", help="Average over three sizes of each picture: 1, 0.71 and 0.5.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32 or bf16.")] = "auto",
    batch_size: Annotated[int | None, typer.Option(help="Pictures at a time; rows don't depend on it.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that read pictures.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on where the same command was stopped; else begin anew.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")] = False,
) -> None:
    """Write features of pictures to a file, a row a picture in sorted order.

    swav extract --out feats.npy
    swav extract photos/ --model runs/quickstart --out feats.parquet
    swav extract photos/ --layer layer4 --out maps.npy
    torchrun --nproc-per-node 8 -m swav_cli extract imagenet/train --out feats.npy

    Beside feats.npy lie feats.paths.txt, a path a line, and feats.json.
    A picture that can't be read has a row of NaN.
    Work that was stopped goes on when the same command is typed again.
    """
    first = os.environ.get("RANK", "0") == "0"
    try:
        result = _extract(
            inputs or [], model, out, first, layer=layer, normalize=normalize, multi_scale=multi_scale, device=device,
            precision=precision, batch_size=batch_size, workers=workers, resume=resume, overwrite=overwrite,
        )  # fmt: skip
    except (UserError, Interrupted) as error:
        if first:
            raise
        raise typer.Exit(error.exit_code) from None  # the first of several processes speaks for all
    if as_json and first:
        print(json.dumps(result), flush=True)


def _extract(inputs: list[str], model: str | None, out: Path | None, first: bool, **options: Any) -> dict[str, Any]:
    from swav_cli.data.inputs import open_inputs
    from swav_cli.evaluate.extraction import extract as write_features
    from swav_cli.evaluate.extraction import pictures_of_run
    from swav_cli.evaluate.features import MAPS
    from swav_cli.evaluate.writers import open_output
    from swav_cli.zoo.load import load_model

    source = model or _newest_run()
    path = out or _default_out(source, options["layer"])
    open_output(path, is_map=options["layer"] in MAPS)  # before a model is fetched
    if not inputs and source is None:
        raise UserError("there is no run whose pictures could be taken; name some: swav extract photos/")
    if model is None and source is not None and first:
        _say(f"model: {source}")
    network, about = load_model(source, _say if first else lambda text: None)
    pictures = open_inputs(inputs, about.channels) if inputs else pictures_of_run(Path(str(source)))
    screen = _Screen(first)
    try:
        result = write_features(
            network, about, pictures, path, name=str(source or about.source), notice=screen.notice,
            progress=screen.progress, **options,
        )  # fmt: skip
    finally:
        screen.close()
    screen.closing(result)
    return result


def _newest_run() -> str | None:
    """The run that is meant where none is named; None where there is none, so that `load_model` takes its own."""
    from swav_cli.zoo.load import newest_run

    try:
        return str(newest_run())
    except UserError:
        return None


def _default_out(source: str | None, layer: str) -> Path:
    """In the run's folder, else here."""
    folder = Path(source) if source and Path(source).is_dir() else Path()
    return folder / ("features.npy" if layer == "pooled" else f"features-{layer}.npy")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class _Screen:
    """A bar on a terminal, a plain line now and then elsewhere; the first of several processes speaks for all."""

    def __init__(self, speaks: bool) -> None:
        self.speaks = speaks
        self._bar: tqdm[Any] | None = None
        self._last_line = time.monotonic()

    def notice(self, text: str) -> None:
        if self.speaks:
            _say(text)

    def progress(self, done: int, count: int) -> None:
        if not self.speaks:
            return
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = self._bar or tqdm(total=count, initial=done, unit="img", dynamic_ncols=True, leave=False)
            self._bar.update(done - self._bar.n)
        elif time.monotonic() - self._last_line > PLAIN_SECONDS:
            self._last_line = time.monotonic()
            _say(f"{done:,} of {count:,} pictures")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def closing(self, result: dict[str, Any]) -> None:
        shape = " x ".join(f"{side:,}" for side in result["shape"])
        failures = result["failures"]
        self.notice(f"wrote {result['file']}: {shape}, {result['layer']} of {result['model']}")
        for failure in failures[:SHOWN]:
            self.notice(f"  row {failure['row']} is NaN: {failure['path']}: {failure['reason']}")
        if len(failures) > SHOWN:
            self.notice(f"  and {len(failures) - SHOWN:,} more; all are in {result['description']}")

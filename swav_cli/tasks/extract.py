"""Features of many pictures, in memory, or in a file by names alone: what `swav extract` does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from swav_cli.core.layers import layer_function
from swav_cli.core.stages import MAPS
from swav_cli.core.weights import Model
from swav_cli.data.inputs import Source, named, open_inputs, opened_for, refuse_to_replace
from swav_cli.data.paths import expanded
from swav_cli.data.pictures import Pictures, tell
from swav_cli.errors import Notice, Told, UserError, silent
from swav_cli.evaluate.extraction.described import check_output
from swav_cli.evaluate.extraction.extract import ExtractRequest
from swav_cli.evaluate.extraction.extract import extract as extract_to_file
from swav_cli.evaluate.extraction.writers import open_output
from swav_cli.evaluate.features import extract_features
from swav_cli.evaluate.inference import Inference
from swav_cli.evaluate.unread import FEW, unread_in_words
from swav_cli.run.folder import RunFolder
from swav_cli.run.newest import newest_run
from swav_cli.run.pictures import pretraining_of, training_pictures
from swav_cli.zoo.load import load_model


class Features(NamedTuple):
    """A row for each picture, in sorted order; the row of one that can't be read is NaN."""

    features: NDArray[np.float32]  # (N, F)
    paths: list[str]


def extract(model: Model, pictures: Source, layer: str = "pooled") -> Features:
    """Features of pictures in memory; `write_features` writes any number of them to a file.

    >>> from swav_cli import load_model
    >>> features, paths = extract(load_model("runs/quickstart"), "photos/")
    >>> features.shape, paths[0]
    ((40, 128), 'photos/plain/00.png')

    Args:
        pictures: a folder, a file, a list of either, or what `open_pictures` gives.
        layer: pooled, embedding, scores, logits, probabilities, or a feature map.

    Raises:
        UserError: no pictures, or no such layer.
    """
    opened = opened_for(pictures, model.about.channels)
    function, how = layer_function(model.network, layer), Inference.wanted(str(model.device))
    rows = extract_features(function, opened, model.about, how).numpy()
    return Features(rows, [opened.name(index) for index in range(len(opened))])


def write_features(
    inputs: str | Path | Sequence[str | Path] = (),
    out: str | Path | None = None,
    model: str | Path | None = None,
    *,
    linear: str | Path | None = None,
    layer: str = "pooled",
    normalize: bool = False,
    multi_scale: bool = False,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    resume: bool = True,
    overwrite: bool = False,
    notice: Notice = silent,
    progress: Told = silent,
    indexing: Told = silent,
) -> dict[str, Any]:
    """Write a layer's output for every picture to a file, row i for picture i in sorted order.

    >>> write_features("photos/", "embeddings.npy", "runs/quickstart", layer="embedding")["shape"]
    [40, 128]

    Args:
        inputs: as `open_inputs` takes them; none: the pictures of the model's own run.
        out: the format follows from the suffix; nothing said: features.npy in the run's folder, else here.
        model, linear: what `load_model` takes.
        indexing: told of bytes done and bytes in all where shards are gone through for the first time.

    The rest is that of `swav_cli.evaluate.extraction.extract.extract`, which does it for a network at hand.

    Returns:
        file, rows, shape, layer, model, failures (row, path and reason), description, what lies beside the file, and
        whether it is `new` or was finished before.

    Raises:
        UserError: a mistake that can be mended; nothing was written. Or, with all of it written, no picture could be
            read.
        Interrupted: a signal came; all rows so far are kept.
    """
    given = named(inputs)
    source = str(model) if model is not None else newest_run()
    path = expanded(out) if out is not None else _default_out(source, layer)
    output = open_output(path, is_map=layer in MAPS)
    check_output(output, overwrite)  # before a model is fetched
    if not given and source is None:
        raise UserError("there is no run whose pictures could be taken; name some: swav extract photos/")
    if model is None and source is not None:
        notice(f"model: {source}")
    found = load_model(source, linear=linear, notice=notice)
    if given:
        pictures = open_inputs(given, found.about.channels, progress=indexing)
    else:
        pictures = pictures_of_run(Path(str(source)), indexing)
    tell(pictures, notice)
    read = [*given, *([source, str(RunFolder(Path(source)).model)] if source else [])]
    refuse_to_replace(read, pictures, output.files())
    if pictures.unlabelled is not None:
        notice(f"no labels are written: {pictures.unlabelled}")
    request = ExtractRequest(layer, normalize, multi_scale, device, precision, batch_size, workers, resume, overwrite)
    result = extract_to_file(found, pictures, path, request, notice=notice, progress=progress)
    _refuse_nothing_read(result)
    return result


def _refuse_nothing_read(found: dict[str, Any]) -> None:
    """
    Raises:
        UserError: every row is of a picture that can't be read; the file is written all the same.
    """
    failures = found["failures"]
    if len(failures) == found["rows"]:
        first = [(each["path"], each["reason"]) for each in failures[:FEW]]
        told = unread_in_words(first, len(failures), found["rows"])
        raise UserError(f"{told} ({found['file']} holds rows of NaN alone)")


def pictures_of_run(model: Path, progress: Told = silent) -> Pictures:
    """What the run trained on to which a model belongs: a run's folder, or a file inside it.

    Raises:
        UserError: no run, or its pictures are no longer there.
    """
    recipe = pretraining_of(model)
    if recipe is None:
        raise UserError(f"{model}: belongs to no run whose pictures could be taken; name some: swav extract photos/")
    try:
        return training_pictures(recipe, progress)
    except UserError:
        raise UserError(
            f"{recipe.data.train}: the pictures of {model}'s run are not there; name others: swav extract photos/"
        ) from None


def _default_out(source: str | None, layer: str) -> Path:
    """In the run's folder, else here."""
    folder = expanded(source) if source and os.path.isdir(expanded(source)) else Path()
    return folder / ("features.npy" if layer == "pooled" else f"features-{layer}.npy")

"""Features of many pictures in a file, a row a picture: what `swav extract` does.

Rows are computed into a folder beside the file (see `unfinished.py`), by any number of processes and in any number of
goes, and become the file once all are there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from swav_cli.core.device import joined_on
from swav_cli.core.layers import Function, layer_function
from swav_cli.core.precision import autocast
from swav_cli.core.stages import map_names
from swav_cli.core.weights import About, Model, weights_digest
from swav_cli.data.pictures import Pictures, digest, labels_digest
from swav_cli.errors import Interrupted, Notice, Told, UserError, silent
from swav_cli.evaluate.extraction.described import (
    Settings,
    are_alike,
    as_noted,
    check_output,
    describe,
    described,
    differences,
    is_finished,
    refuse_others,
    result_of,
)
from swav_cli.evaluate.extraction.unfinished import RowWriter, Unfinished
from swav_cli.evaluate.extraction.writers import Output, Table, check_writable, open_output
from swav_cli.evaluate.features import stream_features
from swav_cli.evaluate.inference import Inference
from swav_cli.files import json_ready
from swav_cli.parallel import distributed
from swav_cli.parallel.agreement import refuse_disagreement
from swav_cli.parallel.processes import first_decides, signal_of_any
from swav_cli.parallel.stopping import StopSignal
from swav_cli.run.seen import pictures_seen

SPARE_DISK = 64e6  # bytes left free beside what is written


@dataclass(frozen=True)
class ExtractRequest:
    """What is to be extracted, how, and what becomes of files that are there; as the options of `swav extract`.

    Args:
        layer: see `layers_of`.
        normalize: rows of length 1.
        multi_scale: the mean over three sizes of the picture.
        batch_size, workers: what suits the device where nothing is said; rows don't depend on them.
        resume: go on with rows of the same settings that an earlier call left; False begins anew.
        overwrite: replace files that are there.
    """

    layer: str = "pooled"
    normalize: bool = False
    multi_scale: bool = False
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    workers: int | None = None
    resume: bool = True
    overwrite: bool = False


POOLED_FEATURES = ExtractRequest()  # pooled features, as they are


class Work(NamedTuple):
    """One extraction, all of it checked; nothing has been written."""

    request: ExtractRequest
    settings: Settings
    pictures: Pictures
    output: Output
    function: Function
    model: Model
    how: Inference
    notice: Notice
    progress: Told


def extract(
    model: Model,
    pictures: Pictures,
    out: str | Path,
    request: ExtractRequest = POOLED_FEATURES,
    *,
    notice: Notice = silent,
    progress: Told = silent,
) -> dict[str, Any]:
    """Write a layer's output for every picture to a file, row i for picture i; what `swav extract --json` prints.

    >>> from swav_cli.data.sources import open_pictures
    >>> from swav_cli.zoo.load import load_model
    >>> extract(load_model("runs/quickstart"), open_pictures("photos/"), "feats.npy")["shape"]
    [40, 128]
    >>> np.load("feats.npy", mmap_mode="r").shape    # (N, F) float32
    (40, 128)

    Under torchrun the processes share the rows. A picture that can't be read has a row of NaN and stands in `failures`.

    Args:
        out: the format follows from the suffix; see `FORMATS`.
        notice, progress: told of what is worth knowing, and of rows done and rows in all.

    Raises:
        UserError: a mistake that can be mended; nothing was written.
        Interrupted: a signal came; all rows so far are kept.
    """
    with joined_on(request.device):
        how = Inference.wanted(request.device, request.precision, request.batch_size, request.workers)
        options: dict[str, bool] = {"normalize": request.normalize, "multi_scale": request.multi_scale}
        function = layer_function(model.network, request.layer, **options)
        output = open_output(Path(out), is_map=request.layer in map_names(model.network))
        check_output(output, request.overwrite)
        _check_pictures(pictures, model.about)
        model.to(how.device)
        settings = Settings(
            model=weights_digest(model), pictures=pictures.fingerprint(), layer=request.layer, **options,
            precision=how.precision,
            shape=(len(pictures), *row_shape(function, model.about, how)), contents=digest(pictures.contents()),
            labels=digest([labels_digest(pictures), *(pictures.classes or [])]),
        )  # fmt: skip
        return _extract(Work(request, settings, pictures, output, function, model, how, notice, progress))


# --- checks, before anything is written -----------------------------------------------------------------------------


def _check_pictures(pictures: Pictures, about: About) -> None:
    if not len(pictures):
        raise UserError(f"{pictures.source}: no pictures there")
    if pictures.channels != about.channels:
        raise UserError(f"{pictures.source}: {pictures.channels} channels, and the model takes {about.channels}")


def row_shape(function: Function, about: About, how: Inference) -> tuple[int, ...]:
    picture = torch.zeros(1, about.channels, about.size, about.size, device=how.device)
    try:
        with torch.no_grad(), autocast(how.device, how.precision):
            return tuple(function(picture).shape[1:])
    except AssertionError as error:  # timm's transformers take sizes that their patches divide
        raise UserError(f"--multi-scale: {about.backbone} takes no pictures of all three sizes ({error})") from None


def _begin(work: Work, unfinished: Unfinished) -> NDArray[np.int64] | None:
    """Which rows are to be computed; None where the output is finished already.

    Raises:
        UserError: something else is there, or too little room; nothing was written.
    """
    resume, overwrite = work.request.resume, work.request.overwrite
    before = unfinished.settings()
    noted = before or described(work.output).get("settings", {})
    wanted = as_noted(json_ready(asdict(work.settings)), noted, work.pictures)
    goes_on = resume and before is not None and are_alike(before, wanted)
    if resume and before is not None and not goes_on and not overwrite:
        raise UserError(
            f"{unfinished.folder} holds unfinished rows of something else ({differences(before, wanted)}); finish it "
            "with its own command, give another --out, or begin anew with --no-resume"
        )
    if not (goes_on and unfinished.is_complete()) and not overwrite:
        if resume and not goes_on and is_finished(work.output, wanted):
            return None
        refuse_others(work.output, wanted)
    check_writable(work.output)
    _check_disk(work, unfinished)
    with _told(work.output.path):
        unfinished.hold()
        if not goes_on:
            unfinished.begin(wanted, work.settings.shape)
        rows: NDArray[np.int64] = np.zeros(0, dtype=np.int64) if unfinished.is_complete() else unfinished.to_do()
    done = len(work.pictures) - len(rows)
    if goes_on:
        work.notice(f"going on: {done:,} of {len(work.pictures):,} rows are there")
    return rows


def _check_disk(work: Work, unfinished: Unfinished) -> None:
    numbers = int(np.prod(work.settings.shape, dtype=np.int64))
    needed = numbers * (4 + work.output.format.bytes_per_number) + SPARE_DISK - unfinished.occupied()
    free = shutil.disk_usage(work.output.path.parent).free
    if needed > free:
        raise UserError(
            f"--out {work.output.path}: {len(work.pictures):,} rows need {needed / 1e9:,.1f} GB beside it, and "
            f"{free / 1e9:,.1f} GB are free; name a file on another disk, or a smaller layer"
        )


# --- the work -------------------------------------------------------------------------------------------------------


def _extract(work: Work) -> dict[str, Any]:
    unfinished = Unfinished(work.output)
    refuse_disagreement(lambda: {**pictures_seen("to extract", work.pictures), **asdict(work.settings)})
    try:
        rows = first_decides(lambda: _begin(work, unfinished))
        if rows is None:
            work.notice(f"{work.output.path} is finished; replace it with --overwrite, or give another --out")
            return {**result_of(work.output, described(work.output)), "new": False}
        with StopSignal() as stop, _told(work.output.path):
            own = np.array_split(rows, distributed.world_size())[distributed.rank()]
            if len(own):
                _compute(work, unfinished, own, len(rows), stop)
            received = int(distributed.max_over_processes(torch.tensor(stop.received)))
            left = first_decides(lambda: 0 if unfinished.is_complete() else len(unfinished.to_do()))
            if left:
                count = len(work.pictures)
                raise Interrupted(f"stopped at {count - left:,} of {count:,} rows; all is saved", received)
            return first_decides(lambda: _finish(work, unfinished, stop))
    finally:
        unfinished.release()


def _compute(work: Work, unfinished: Unfinished, own: NDArray[np.int64], count: int, stop: StopSignal) -> None:
    """This process's share of the rows; ends early, with all saved, where a signal comes."""
    writer = RowWriter(unfinished, distributed.rank())
    done, before = 0, len(work.pictures) - count
    try:
        for part in stream_features(work.function, work.pictures, work.model.about, work.how, own.tolist()):
            writer.write(part.indices.numpy(), part.values.numpy(), part.bad)
            done += len(part.indices)
            # Shares are alike, so what this process has done stands for all.
            work.progress(before + round(done * count / len(own)), len(work.pictures))
            if signal_of_any(stop.received):  # by whichever process it has reached, all stop
                break
        writer.save()
    finally:
        writer.close()


def _finish(work: Work, unfinished: Unfinished, stop: StopSignal) -> dict[str, Any]:
    def check() -> None:
        if stop.received:
            raise Interrupted(f"stopped while {work.output.path} was written; all rows are saved", stop.received)

    pictures = work.pictures
    complete = unfinished.is_complete()
    description = describe(work.settings, work.model, pictures, work.output, unfinished.failures())
    rows = np.empty(0, dtype=np.float32) if complete else unfinished.rows()
    unfinished.finish(Table(rows, pictures.name, pictures.labels, pictures.classes, description, check))
    return {**result_of(work.output, description), "new": True}


@contextmanager
def _told(out: Path) -> Iterator[None]:
    """A full disk and the like in one line."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{out}: can't be written ({error.strerror or error}); rows so far are kept, so mend that and go on with "
            "the same command"
        ) from None

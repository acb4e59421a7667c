"""Features of very many pictures, a file of them a part: what `swav extract SHARDS --out DIR/` does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from swav_cli.core.device import joined_on
from swav_cli.data.inputs import named
from swav_cli.data.paths import expanded
from swav_cli.data.shard_files import find_shard_files
from swav_cli.errors import Notice, Told, UserError, counted, nearest, silent
from swav_cli.evaluate.extraction.extract import ExtractRequest
from swav_cli.evaluate.extraction.part_maker import Hearer, PartMaker
from swav_cli.evaluate.extraction.parts import Parts, count_rows, read_share
from swav_cli.evaluate.unread import FEW
from swav_cli.parallel import distributed
from swav_cli.parallel.agreement import refuse_disagreement
from swav_cli.parallel.place import check_environment, was_restarted
from swav_cli.parallel.processes import first_decides, signal_of_any
from swav_cli.parallel.stopping import StopSignal
from swav_cli.run.newest import newest_run
from swav_cli.tasks.parts_job import Job, Made, refuse_stopped, tell_begun, told
from swav_cli.writable import check_moved_place, check_place
from swav_cli.zoo.load import load_model

ENGINES = ("ray",)


def write_parts(
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    model: str | Path | None = None,
    *,
    part: str | None = None,
    engine: str | None = None,
    devices: int | None = None,
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
) -> dict[str, Any]:
    """Write features of files of pictures (.tar, Parquet, Arrow) to a folder, a Parquet file for each of them.

    Any number of processes, on machines that share the disk, may do so at once: each file is claimed by one, a part
    that is there is passed over, and one whose owner was killed is made by another. The work ends when all parts are
    there.

    >>> write_parts("shards/*.tar", "feats", "runs/quickstart")["parts"]
    2

    Args:
        inputs: files, patterns, or folders that hold some.
        part: `I/N`: of N jobs this is number I, counted from 0, and makes every N-th part.
        engine: `ray`: by workers on a Ray cluster, else on this machine; None: by this process, or all of torchrun's.
        devices: how many of Ray's workers; one a GPU, or else a processor, where nothing is said.

    The rest is that of `write_features`.

    Returns:
        folder, parts, how many of them are `new`, rows, shape, layer, model, unread (rows of pictures that can't be
        read) and description.

    Raises:
        UserError: a mistake that can be mended; nothing was written. Or, with all else written, a file or every picture
            can't be read.
        Interrupted: a signal came; all parts so far are kept.
    """
    share, folder = read_share(part), _checked_folder(out)
    _check_engine(engine)
    given = named(inputs)
    if not given:
        raise UserError(f"--out {out}: a folder takes parts of shards; name those: swav extract 'shards/*.tar'")
    parts = Parts(folder, find_shard_files(given, without=folder), share)
    if not parts.numbers:
        raise UserError(f"--part {part}: there are no more than {counted(len(parts.shards), 'file')}; take fewer jobs")
    source = str(model) if model is not None else newest_run()
    if model is None and source is not None:
        notice(f"model: {source}")
    found = load_model(source, linear=linear, notice=notice)
    request = ExtractRequest(layer, normalize, multi_scale, device, precision, batch_size, workers, resume, overwrite)
    job = Job(parts, found, request, notice, progress)
    if engine == "ray":
        from swav_cli.tasks.extract_ray import make_by_ray

        return _result(job, make_by_ray(job, devices))
    with joined_on(device):
        made = _make(job)
        return first_decides(lambda: _result(job, made))


def _checked_folder(out: str | Path) -> Path:
    """
    Raises:
        UserError: no folder can be there; or pyarrow is not installed.
    """
    folder = expanded(out)
    check_moved_place(folder, "--out")
    check_place(folder, "--out", is_folder=True)
    if not os.path.isdir(folder.parent):
        raise UserError(f"--out {folder}: there is no folder {folder.parent}; make it first")
    if find_spec("pyarrow") is None:
        raise UserError(f"--out {out}: parts need pyarrow; install it with: pip install 'swav-cli[parquet]'")
    return folder


def _check_engine(engine: str | None) -> None:
    if engine is None:
        return
    if engine not in ENGINES:
        raise UserError(f"--engine {engine}: no such engine.{nearest(engine, ENGINES)} Known is ray")
    if find_spec("ray") is None:
        raise UserError("--engine ray: needs ray; install it with: pip install 'swav-cli[ray]'")
    if check_environment() > 1:
        raise UserError("--engine ray: starts its workers itself; leave torchrun, srun and mpirun out")


def _make(job: Job) -> Made:
    """By this process, and those that were started with it."""
    parts, request, rank = job.parts, job.request, distributed.rank()
    maker = PartMaker(job.model, request)
    refuse_disagreement(lambda: {"files to read": [shard[1:] for shard in parts.shards], **maker.settings})
    overwrite = request.overwrite and not was_restarted()
    with told(parts.folder):
        before = first_decides(
            lambda: parts.begin(maker.settings, job.model, resume=request.resume, overwrite=overwrite)
        )
        if rank:
            parts.join(maker.settings)
        tell_begun(job, before)
        with StopSignal() as stop:
            total = sum(parts.shards[number].size for number in parts.numbers)
            hearer = Hearer(lambda done: job.progress(done, total), lambda: bool(signal_of_any(stop.received)))
            maker.work(parts, (rank, distributed.world_size()), hearer)
            received = int(distributed.max_over_processes(torch.tensor(stop.received)))
    everyone = distributed.objects_of_all(maker.unreadable)
    made = Made(before, {number: why for each in everyone for number, why in each.items()})
    refuse_stopped(parts, made, received)
    return made


def _result(job: Job, made: Made) -> dict[str, Any]:
    """What is told of the parts.

    Raises:
        UserError: some file can't be read, or no picture of all.
    """
    parts, unreadable = job.parts, made.unreadable
    parts.finish()
    there = sorted(parts.there() & set(parts.numbers))
    rows, unread = count_rows(parts.path(number) for number in there)
    if unreadable:
        first = "; ".join(list(unreadable.values())[:FEW])
        raise UserError(
            f"{counted(len(unreadable), 'file')} of {len(parts.numbers):,} could not be read, and "
            f"{counted(len(there), 'part')} are there; first {first}"
        )
    if rows and unread == rows:
        raise UserError(f"none of {rows:,} pictures could be read; {parts.folder} holds rows of NaN alone, and why")
    description = parts.description()
    return {
        "folder": str(parts.folder), "parts": len(there), "new": len(there) - made.there_before, "rows": rows,
        "shape": [rows, *description["shape"]], "layer": job.request.layer, "model": job.model.name, "unread": unread,
        "description": str(parts.folder / "_parts.json"),
    }  # fmt: skip

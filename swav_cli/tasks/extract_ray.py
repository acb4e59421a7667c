"""`swav extract --engine ray`: the same work by workers that a Ray cluster starts, and starts again where they die.

Ray places workers on machines and watches them. Which worker makes which part is settled by claims, as it is without
Ray, so that a worker is never idle while another has much to do.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import replace
from typing import Any, NamedTuple

from swav_cli.core.weights import Model
from swav_cli.errors import Interrupted, UserError, first_line, silent
from swav_cli.evaluate.extraction.extract import ExtractRequest
from swav_cli.evaluate.extraction.part_maker import Hearer, PartMaker
from swav_cli.evaluate.extraction.parts import Parts
from swav_cli.parallel.stopping import StopSignal
from swav_cli.tasks.parts_job import Job, Made, refuse_stopped, tell_begun, told

RESTARTS = 32  # of each worker; one that dies more often has another reason than a machine that was taken away
LOOKED_EVERY = 0.5  # seconds
TIME_TO_END = 5.0  # seconds
PATIENCE = 60.0  # seconds after which one is told that the cluster has no place for a worker


class Places(NamedTuple):
    """How many workers, and what each of them takes."""

    workers: int
    cpus: int  # of each
    gpus: int
    request: ExtractRequest  # as a worker is to have it


class Worker:
    """A model in one of Ray's processes."""

    def __init__(self, request: ExtractRequest, folder: str) -> None:
        self._request, self._folder = request, folder
        self._maker: PartMaker | None = None

    def settings(self, box: list[Any]) -> dict[str, Any]:
        """What the parts depend on.

        Args:
            box: a reference to the model. It comes with each call, since Ray can't give a worker that it starts again
                what lay in its store when the first one began.
        """
        return self._made(box).settings

    def work(self, box: list[Any], parts: Parts, place: tuple[int, int]) -> dict[int, str]:
        """See `PartMaker.work`; returns the files that can't be read."""
        maker = self._made(box)
        parts.join(maker.settings)
        with told(parts.folder):
            maker.work(parts, place, Hearer(silent, lambda: False))
        return maker.unreadable

    def _made(self, box: list[Any]) -> PartMaker:
        """
        Raises:
            UserError: this machine does not have the folder in which the command was typed.
        """
        import ray

        if self._maker is None:
            try:
                os.chdir(self._folder)  # so that files are found by the names they were given by
            except OSError as error:
                raise UserError(
                    f"{self._folder}: is not on {socket.gethostname()} ({error.strerror}); all machines of the cluster "
                    "must see the same disk under the same name"
                ) from None
            model: Model = ray.get(box[0])
            self._maker = PartMaker(model, self._request)
        return self._maker


def make_by_ray(job: Job, devices: int | None) -> Made:
    """
    Args:
        devices: how many workers; None: as many as there are GPUs, or else processors.

    Raises:
        UserError: the cluster has no place for a worker, or what `Parts.begin` raises.
        Interrupted: a signal came; all parts so far are kept.
    """
    import ray

    parts = job.parts
    with _connected(), told(parts.folder):
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        places = places_on(machines, job.request, devices)
        actor = ray.remote(Worker).options(
            num_cpus=places.cpus, num_gpus=places.gpus, max_restarts=RESTARTS, max_task_retries=RESTARTS
        )
        box = [ray.put(job.model)]  # once, and not with each worker
        workers = [actor.remote(places.request, os.getcwd()) for _ in range(places.workers)]
        with StopSignal() as stop:
            try:
                settings = _first_answer([worker.settings.remote(box) for worker in workers], job, stop)
                before = parts.begin(settings, job.model, resume=job.request.resume, overwrite=job.request.overwrite)
                tell_begun(job, before)
                begun = [worker.work.remote(box, parts, (rank, len(workers))) for rank, worker in enumerate(workers)]
                unreadable = _watch(begun, job, stop)
            finally:
                for worker in workers:
                    ray.kill(worker)
        _clear_asides(parts)
        made = Made(before, unreadable)
        refuse_stopped(parts, made, stop.received)
    return made


@contextmanager
def _connected() -> Iterator[None]:
    """To the cluster that RAY_ADDRESS or `ray start` names, else to one of this machine for as long as this lasts."""
    import ray

    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that is started here tells nobody of it
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray has no class of its own for what goes wrong here
        raise UserError(f"--engine ray: no cluster can be reached or started ({first_line(error)})") from None
    try:
        with redirect_stdout(sys.stderr):  # where Ray would tell of workers that are lost, and results alone belong
            yield
    finally:
        ray.shutdown()


def places_on(machines: list[dict[str, float]], request: ExtractRequest, devices: int | None) -> Places:
    """How many workers there are to be, and what each takes.

    Args:
        machines: what each has of CPU and GPU.

    Raises:
        UserError: no machine has what is asked for.
    """
    if request.device not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {request.device}: Ray deals out the GPUs; use auto, cpu or cuda")
    with_gpus = [each for each in machines if each.get("GPU", 0) >= 1]
    if request.device == "cuda" and not with_gpus:
        raise UserError("--device cuda: no machine of the Ray cluster has a GPU; use --device cpu")
    if with_gpus and request.device != "cpu":
        share = min(int(each.get("CPU", 1) // each["GPU"]) for each in with_gpus)
        cpus = max(1, share if request.workers is None else request.workers)
        count = devices or sum(int(each["GPU"]) for each in with_gpus)
        return Places(count, cpus, 1, replace(request, device="cuda", workers=cpus))
    count = devices or sum(int(each.get("CPU", 0)) for each in machines)
    if not count:
        raise UserError("--engine ray: no machine of the cluster has a processor to give; see: ray status")
    return Places(count, 1, 0, replace(request, device="cpu", workers=request.workers or 0))


def _first_answer(asked: list[Any], job: Job, stop: StopSignal) -> Any:
    """Of whichever worker is there first.

    Raises:
        Interrupted: a signal came before.
    """
    import ray

    waited = 0.0
    while not stop.received:
        ready, _ = ray.wait(asked, timeout=LOOKED_EVERY)
        if ready:
            return _answer(ready[0])
        waited += LOOKED_EVERY
        if waited == PATIENCE:
            job.notice("the cluster has had no place for a worker so far; see: ray status")
    raise Interrupted("stopped before a worker was there", stop.received)


def _watch(begun: list[Any], job: Job, stop: StopSignal) -> dict[int, str]:
    """Until all workers are done, or a signal comes; files that can't be read.

    Raises:
        UserError: what a worker has met, or all of them were lost.
    """
    import ray

    parts = job.parts
    own, total = set(parts.numbers), sum(parts.shards[number].size for number in parts.numbers)
    unreadable: dict[int, str] = {}
    lost = ""
    while begun and not stop.received:
        ready, begun = ray.wait(begun, timeout=LOOKED_EVERY)
        job.progress(sum(parts.shards[number].size for number in parts.there() & own), total)
        for each in ready:
            try:
                unreadable |= _answer(each)
            except ray.exceptions.RayActorError as error:
                lost = str(error).strip().splitlines()[0]
                job.notice(f"a worker is lost for good: {lost}")
    if lost and not begun and len(parts.there() & own) + len(unreadable) < len(own):
        raise UserError(f"workers were lost {RESTARTS} times each, the last one: {lost}. Go on with the same command")
    return unreadable


def _clear_asides(parts: Parts) -> None:
    """Remove what workers had begun, each of which ends a moment after it is told to."""
    until = time.monotonic() + TIME_TO_END
    while not parts.clear_asides() and time.monotonic() < until:
        time.sleep(0.1)


def _answer(reference: Any) -> Any:
    """What a worker returns, or the error that it has met."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        with suppress(AttributeError):
            if isinstance(error.cause, UserError):
                raise UserError(str(error.cause)) from None
        raise

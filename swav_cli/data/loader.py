"""Batches of crops, in an order that depends on the seed alone, from any step on and by any number of workers."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from swav_cli.data.images import BadPicture
from swav_cli.data.sources import Pictures
from swav_cli.errors import UserError

REPLACEMENTS = 100  # other pictures tried in place of a bad one
CAN_WAIT_FOR_SIGNALS = hasattr(signal, "sigwaitinfo")  # not on macOS and Windows

Item = tuple[int, int]  # epoch, index of a picture
MakeCrops = Callable[[Tensor, int, int], tuple[list[Tensor], Tensor]]


class Batch(NamedTuple):
    """Crops of B pictures: for each crop size (B, count, C, size, size) uint8."""

    crops: list[Tensor]
    numbers: Tensor  # (B, V, columns): what is to be done to each crop's colours
    indices: Tensor  # (B,)
    bad: list[tuple[int, str]]  # pictures that could not be read, with the reason; others stand in for them


class Order(Sampler[list[Item]]):
    """Which pictures each step takes, from `first_step` to the end of the run.

    Every epoch is a permutation of its own; its last pictures that don't fill a batch are left for another epoch.

    Args:
        count: pictures in all.
        batch_size: pictures a step.
        parts: in how many equal parts a step's pictures are given.
        share: which of a part's pictures this process takes.
    """

    def __init__(
        self, count: int, batch_size: int, epochs: int, seed: int, first_step: int = 0, parts: int = 1,
        share: Callable[[int], slice] = lambda size: slice(0, size),
    ) -> None:  # fmt: skip
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.steps_per_epoch = count // batch_size
        self.first_step, self.last_step = first_step, epochs * self.steps_per_epoch
        self.parts, self.share = parts, share

    def __len__(self) -> int:
        return (self.last_step - self.first_step) * self.parts

    def __iter__(self) -> Iterator[list[Item]]:
        step = self.first_step
        while step < self.last_step:
            epoch, done = divmod(step, self.steps_per_epoch)
            order = epoch_order(self.count, self.seed, epoch)
            for position in range(done, self.steps_per_epoch):
                chosen = order[position * self.batch_size : (position + 1) * self.batch_size]
                for part in np.split(chosen, self.parts):
                    yield [(epoch, int(index)) for index in part[self.share(len(part))]]
                step += 1


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.Generator(np.random.Philox(key=[seed, epoch + 1])).permutation(count)


class Crops(Dataset[Batch]):
    """Reads pictures and cuts their crops, a batch at a time; runs in the workers."""

    def __init__(self, pictures: Pictures, make_crops: MakeCrops) -> None:
        self.pictures, self.make_crops = pictures, make_crops

    def __getitems__(self, items: list[Item]) -> Batch:
        batch: list[Tensor] = []  # for each size (B, count, size, size, C): as the cut leaves them in memory
        numbers: list[Tensor] = []
        bad: list[tuple[int, str]] = []
        for position, (epoch, index) in enumerate(items):
            crops, own = self.make_crops(self._read(epoch, index, bad), epoch, index)
            pixelwise = [each.permute(0, 2, 3, 1) for each in crops]
            batch = batch or [each.new_empty(len(items), *each.shape) for each in pixelwise]
            for whole, each in zip(batch, pixelwise, strict=True):
                whole[position] = each  # at once, while the processor still has it at hand
            numbers.append(own)
        return Batch(
            crops=[whole.permute(0, 1, 4, 2, 3) for whole in batch],
            numbers=torch.stack(numbers),
            indices=torch.tensor([index for _, index in items]),
            bad=bad,
        )

    def _read(self, epoch: int, index: int, bad: list[tuple[int, str]]) -> Tensor:
        """The picture, or another that depends on (epoch, index) alone where it can't be read.

        Raises:
            UserError: nor can any of the many others that were tried.
        """
        try:
            return self.pictures.read(index)
        except BadPicture as error:
            bad.append((index, str(error)))
        others = np.random.Generator(np.random.Philox(key=[epoch, index]))
        for _ in range(REPLACEMENTS):
            other = int(others.integers(len(self.pictures)))
            try:
                return self.pictures.read(other)
            except BadPicture as error:
                bad.append((other, str(error)))
        raise UserError(
            f"{self.pictures.source}: {self.pictures.name(index)} can't be read ({bad[0][1]}), nor can any of "
            f"{REPLACEMENTS} others tried in its place; is this a folder of pictures?"
        )


def load_batches(
    pictures: Pictures, make_crops: MakeCrops, order: Order, workers: int, pin_memory: bool = False
) -> Generator[Batch, None, None]:
    """All batches of a run from the order's first step on; workers go on reading across the ends of epochs."""
    loader = DataLoader(
        Crops(pictures, make_crops),
        batch_sampler=order,
        collate_fn=_as_it_is,
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=start_worker,
        prefetch_factor=4 if workers else None,
    )
    return _without_wrapping(start(loader))


def _without_wrapping(batches: Iterator[Batch]) -> Generator[Batch, None, None]:
    try:
        yield from batches
    except UserError as error:  # from a worker it comes with that process's traceback around the message
        raise UserError(str(error).strip().rpartition(f"{UserError.__name__}: ")[2]) from None


def _as_it_is(batch: Any) -> Any:
    """Batches come whole from `Crops`."""
    return batch


def start(loader: DataLoader[Any]) -> Iterator[Any]:
    """A loader's batches; its workers, if any, start now and outlive a SIGTERM that reaches every process of a run.

    A cluster sends one; the main process has then still to finish its step and to save, and ends the workers itself.
    """
    if not CAN_WAIT_FOR_SIGNALS:
        return iter(loader)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # workers begin with what is blocked here
    try:
        return iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def spare_processors(device: torch.device) -> int:
    """How many processes may read pictures beside one that computes on a device."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    processors //= int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return min(2, processors) if device.type == "cpu" else min(16, max(1, processors - 1))


def start_worker(_: int) -> None:
    """What a process that reads pictures does first."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C too reaches every process of a terminal
    if CAN_WAIT_FOR_SIGNALS:
        threading.Thread(target=_end_when_told, daemon=True).start()


def _end_when_told() -> None:
    """End at a SIGTERM of the main process, whose own end waits for it, but at no other's."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        continue
    os._exit(0)

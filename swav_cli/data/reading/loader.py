"""Batches of crops, in an order that depends on the seed alone, from any step on and by any number of workers."""

from __future__ import annotations

import copy
import errno
import multiprocessing.queues
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.cache import CachedPictures, free_memory
from swav_cli.data.reading.limits import (
    MOST_AHEAD,
    READ_AHEAD,
    SHARE_READ_AHEAD,
    Traffic,
    batches_ahead,
    limits,
    local_processes,
    own_processors,
    why_not_shared,
)
from swav_cli.data.reading.readers import LACK, Killed, Readers, end_for_lack
from swav_cli.errors import Notice, UserError
from swav_cli.progress import say

REPLACEMENTS = 100  # other pictures tried in place of a bad one
WORTH_A_PROCESS = 64  # pictures that take as long to read and decode as it takes to start one that does
WORTH_A_PROCESS_IN_MEMORY = 2000  # the same of decoded ones
RESTARTS = 3  # times in a run that reading goes on after a worker was killed
# Forked processes share the pictures' arrays and begin with the signals that are blocked here; from Python 3.14 on it
# would send each process a copy instead.
FORK = "fork" if sys.platform == "linux" else None
CAN_WAIT_FOR_SIGNALS = hasattr(signal, "sigwaitinfo")  # not on macOS and Windows

Item = tuple[int, int]  # epoch, index of a picture
MakeCrops = Callable[[Tensor, int, int], tuple[list[Tensor], Tensor]]


class Batch(NamedTuple):
    """Crops of B pictures: for each crop size (B, count, C, size, size) uint8."""

    crops: list[Tensor]
    numbers: Tensor  # (B, V, columns): what is to be done to each crop's colours
    indices: Tensor  # (B,)
    bad: list[tuple[int, str]]  # pictures that could not be read, with the reason; others stand in for them
    finished: tuple[int, ...] = ()  # shards of a stream of which no picture is left to come
    failed: tuple[tuple[int, str], ...] = ()  # shards of a stream that had to be left out, with the reason
    boxes: Tensor | None = None  # (B, V, 5), where no crops are cut yet: of each its picture, top, left, height, width


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
        self.first_part = 0

    def after(self, batches: int) -> Order:
        """What comes once so many batches, each a part of a step, have been taken."""
        rest = copy.copy(self)
        steps, rest.first_part = divmod(self.first_part + batches, self.parts)
        rest.first_step = self.first_step + steps
        return rest

    def largest(self) -> int:
        """Pictures in the largest batch."""
        size = self.batch_size // self.parts
        return len(range(size)[self.share(size)])

    def __len__(self) -> int:
        return (self.last_step - self.first_step) * self.parts - self.first_part

    def __iter__(self) -> Iterator[list[Item]]:
        step, first_part = self.first_step, self.first_part
        while step < self.last_step:
            epoch, done = divmod(step, self.steps_per_epoch)
            order = epoch_order(self.count, self.seed, epoch)
            for position in range(done, self.steps_per_epoch):
                chosen = order[position * self.batch_size : (position + 1) * self.batch_size]
                for part in np.split(chosen, self.parts)[first_part:]:
                    yield [(epoch, int(index)) for index in part[self.share(len(part))]]
                step, first_part = step + 1, 0


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.Generator(np.random.Philox(key=[seed, epoch + 1])).permutation(count)


class Crops(Dataset[Batch]):
    """Reads pictures and cuts their crops, a batch at a time; runs in the workers."""

    def __init__(self, pictures: Pictures, make_crops: MakeCrops) -> None:
        self.pictures, self.make_crops = pictures, make_crops

    def __getitems__(self, items: list[Item]) -> Batch:
        bad: list[tuple[int, str]] = []
        cut = (self.make_crops(self.readable(epoch, index, bad)[1], epoch, index) for epoch, index in items)
        crops, numbers = stacked(cut, len(items))
        return Batch(crops, numbers, torch.tensor([index for _, index in items]), bad)

    def readable(self, epoch: int, index: int, bad: list[tuple[int, str]]) -> tuple[int, Tensor]:
        """The picture and its number, or another that depends on (epoch, index) alone where it can't be read.

        Raises:
            UserError: nor can any of the many others that were tried.
        """
        try:
            return index, self.pictures.read(index)
        except BadPicture as error:
            bad.append((index, str(error)))
        others = np.random.Generator(np.random.Philox(key=[epoch, index]))
        for _ in range(REPLACEMENTS):
            other = int(others.integers(len(self.pictures)))
            try:
                return other, self.pictures.read(other)
            except BadPicture as error:
                bad.append((other, str(error)))
        raise UserError(
            f"{self.pictures.source}: {self.pictures.name(index)} can't be read ({bad[0][1]}), nor can any of "
            f"{REPLACEMENTS} others tried in its place; is this a folder of pictures?"
        )


def stacked(cut: Iterable[tuple[list[Tensor], Tensor]], count: int) -> tuple[list[Tensor], Tensor]:
    """Crops and numbers of so many pictures, which are cut one after another, as a batch holds them."""
    batch: list[Tensor] = []  # for each size (B, count, size, size, C): as the cut leaves them in memory
    numbers: list[Tensor] = []
    for position, (crops, own) in enumerate(cut):
        pixelwise = [each.permute(0, 2, 3, 1) for each in crops]
        batch = batch or [each.new_empty(count, *each.shape) for each in pixelwise]
        for whole, each in zip(batch, pixelwise, strict=True):
            whole[position] = each  # at once, while the processor still has it at hand
        numbers.append(own)
    return [whole.permute(0, 1, 4, 2, 3) for whole in batch], torch.stack(numbers)


def load_batches(
    pictures: Pictures,
    make_crops: MakeCrops,
    order: Order,
    workers: int,
    pin_memory: bool = False,
    notice: Notice = say,
) -> Generator[Batch, None, None]:
    """All batches of a run from the order's first step on; workers start now and go on reading across epochs' ends.

    See `read_batches` for what becomes of workers that are killed.
    """
    return load_from(Crops(pictures, make_crops), order, workers, pin_memory, notice)


def load_from(
    crops: Crops,
    order: Order,
    workers: int,
    pin_memory: bool = False,
    notice: Notice = say,
) -> Generator[Batch, None, None]:
    """The same of whatever makes a batch of items."""
    sample = [crops.__getitems__([(0, 0)])] if workers else []

    def rest(batches: int) -> dict[str, Any]:
        return {"dataset": crops, "batch_sampler": order.after(batches)}

    return read_batches(rest, len(order), order.largest(), sample, workers, pin_memory, notice)


def read_batches(
    rest: Callable[[int], dict[str, Any]],
    count: int,
    largest: int,
    sample: list[Batch],
    workers: int,
    pin_memory: bool = False,
    notice: Notice = say,
) -> Generator[Batch, None, None]:
    """So many batches, made by workers that start now.

    Where a worker is killed, as a system does that runs out of memory, others go on with the batch that comes next.

    Args:
        rest: what a `DataLoader` reads of all that comes once so many batches have been taken.
        largest: pictures in the largest batch.
        sample: a batch of one picture, to tell how large others are; none is needed without workers or pictures.
        notice: told in a line what is not as it should be, and what is done about it.
    """
    ahead, piped = _ways_and_means(sample[0], largest, workers, notice) if sample else (MOST_AHEAD, False)

    def read_after(batches: int, killed_by: str = "") -> Readers:
        nonlocal piped
        piped = piped or killed_by in (LACK, "SIGBUS")  # shared memory has become full: others use it too
        return _start_reading(rest(batches), workers, ahead, pin_memory, piped)

    return _as_batches(_going_on(read_after(0), read_after, count, notice), pin_memory)


def _start_reading(source: dict[str, Any], workers: int, ahead: int, pin_memory: bool, piped: bool) -> Readers:
    """
    Args:
        ahead: batches that each worker makes in advance.

    Raises:
        UserError: too few files may be open for so many workers.
    """
    collate: Callable[[Any], Any] = _as_arrays if piped else _as_it_is
    loader: DataLoader[Any] = DataLoader(
        **source,
        collate_fn=collate,
        num_workers=workers,
        # A worker that is killed halfway through a large message would leave torch's own thread waiting for the rest.
        pin_memory=pin_memory and not piped,
        worker_init_fn=start_worker,
        multiprocessing_context=FORK if workers else None,
        prefetch_factor=ahead if workers else None,
    )
    try:
        return _start(loader)
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        raise UserError(
            f"{workers} processes that read pictures need more open files than the system allows; raise its limit "
            "with ulimit -n, or use fewer --workers"
        ) from None


def _going_on(
    readers: Readers, read_after: Callable[[int, str], Readers], count: int, notice: Notice
) -> Generator[Any, None, None]:
    """So many batches, each once and in order, however often the workers have to be started anew.

    Raises:
        Killed: more often than a run bears.
    """
    done, killed = 0, 0
    try:
        while done < count:
            try:
                batch = next(readers)
            except Killed as error:
                killed += 1
                if killed > RESTARTS:
                    raise
                notice(f"a process that reads pictures was ended by {error.by}; reading goes on with new ones")
                readers.close()
                readers = read_after(done, error.by)
                continue
            done += 1
            yield batch
    except UserError as error:  # from a worker it comes with that process's traceback around the message
        raise UserError(str(error).strip().rpartition(f"{UserError.__name__}: ")[2]) from None
    finally:
        readers.close()


# --- shared memory or pipes ---------------------------------------------------------------------------------------


def _ways_and_means(sample: Batch, largest: int, workers: int, notice: Notice) -> tuple[int, bool]:
    """How many batches each worker makes in advance, and whether they must come through pipes, which needs no room.

    torch leaves them in shared memory, and a worker that finds no room there ends.
    """
    tensors = [*sample.crops, sample.numbers, sample.indices, *([] if sample.boxes is None else [sample.boxes])]
    size = largest * sum(tensor.nbytes for tensor in tensors)
    own = limits()
    spare = min(READ_AHEAD, SHARE_READ_AHEAD * free_memory() / local_processes())
    ahead = batches_ahead(workers, size, min(spare, own.shared_bytes - 2 * size))  # two are being used
    why = why_not_shared(Traffic(workers, workers * ahead + 2, size, len(tensors)), own)
    if why:
        notice(f"{why}; pictures come through pipes instead, which takes a little longer")
    return batches_ahead(workers, size, spare) if why else ahead, why is not None


def _as_arrays(batch: Batch) -> tuple[Any, ...]:
    """A batch to be sent whole, in the order in which its crops lie in memory."""
    crops = [crops.permute(0, 1, 3, 4, 2).numpy() for crops in batch.crops]
    boxes = None if batch.boxes is None else batch.boxes.numpy()
    return crops, batch.numbers.numpy(), batch.indices.numpy(), *batch[3:-1], boxes


def _as_batches(received: Generator[Any, None, None], pin_memory: bool) -> Generator[Batch, None, None]:
    """Batches as they come; those that came as arrays made of tensors again."""
    with closing(received):
        for batch in received:
            yield batch if isinstance(batch, Batch) else _as_tensors(batch, pin_memory)


def _as_tensors(sent: Any, pin_memory: bool) -> Batch:
    """What `_as_arrays` has made of a batch, as that batch again."""
    arrays, *two = sent[:3]
    tensors = [torch.from_numpy(array) for array in (*arrays, *two)]
    *crops, numbers, indices = [tensor.pin_memory() for tensor in tensors] if pin_memory else tensors
    boxes = None if sent[-1] is None else torch.from_numpy(sent[-1])
    cut = [each.permute(0, 1, 4, 2, 3) for each in crops]
    return Batch(cut, numbers, indices, *sent[3:-1])._replace(boxes=boxes)


def _as_it_is(batch: Any) -> Any:
    """Batches come whole from their data set."""
    return batch


def _start(loader: DataLoader[Any]) -> Readers:
    """A loader's batches; its workers, if any, start now and outlive a SIGTERM that reaches every process of a run.

    A cluster sends one; the main process has then still to finish its step and to save, and ends the workers itself.
    """
    if not CAN_WAIT_FOR_SIGNALS:
        return Readers(loader)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # workers begin with what is blocked here
    try:
        return Readers(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def spare_processors(device: torch.device) -> int:
    """How many processes may read pictures beside one that computes on a device."""
    processors = own_processors()
    return min(2, processors) if device.type == "cpu" else min(16, max(1, processors - 1))


def pick_workers(wanted: int | Literal["auto"], pictures: Pictures, device: torch.device) -> int:
    """Processes that read pictures. None where they are in memory and the processor trains: it has no time to spare."""
    if wanted != "auto":
        return wanted
    if device.type == "cpu" and isinstance(pictures, CachedPictures):
        return 0
    return spare_processors(device)


def pick_readers(wanted: int | Literal["auto"], pictures: Pictures, device: torch.device) -> int:
    """The same for pictures that are read once: no more processes than have work for longer than they take to start."""
    most = pick_workers(wanted, pictures, device)
    return most if wanted != "auto" else worthwhile(most, len(pictures), isinstance(pictures, CachedPictures))


def worthwhile(processes: int, count: int, in_memory: bool = False) -> int:
    """So many processes, or fewer where so many pictures are quickly read.

    >>> worthwhile(16, 10), worthwhile(16, 200), worthwhile(16, 5000), worthwhile(16, 5000, in_memory=True)
    (0, 3, 16, 2)
    """
    return min(processes, count // (WORTH_A_PROCESS_IN_MEMORY if in_memory else WORTH_A_PROCESS))


def start_worker(_: int) -> None:
    """What a process that reads pictures does first."""
    torch.set_num_threads(1)
    # A batch that can't be put into shared memory is else dropped with a traceback, and the main process waits for it
    # for ever.
    setattr(multiprocessing.queues.Queue, "_on_queue_feeder_error", staticmethod(end_for_lack))  # noqa: B010
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C too reaches every process of a terminal
    if CAN_WAIT_FOR_SIGNALS:
        threading.Thread(target=_end_when_told, daemon=True).start()


def _end_when_told() -> None:
    """End at a SIGTERM of the main process, whose own end waits for it, but at no other's."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        continue
    os._exit(0)

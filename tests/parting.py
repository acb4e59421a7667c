"""Processes of which one ends before the others, for tests: what becomes of the rest.

`python -m tests.parting NAME` joins the processes, and does what `FAULTS` calls by that name.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from swav_cli.data.pictures import Pictures
from swav_cli.errors import Interrupted, UserError
from swav_cli.parallel import distributed, flight, peers, processes
from swav_cli.parallel.processes import joined_processes, signal_of_any

FIRST_FAILS = "the first process has failed by itself"


def wait_for(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.01)


def stuck() -> None:
    """As in a GPU's queue, where no error of a connection is heard, and no signal of the system either."""
    if distributed.rank():
        Path(f"stuck-{distributed.rank()}").touch()
        threading.Event().wait()
    for other in range(1, distributed.world_size()):
        wait_for(f"stuck-{other}")
    raise UserError(FIRST_FAILS)


def waiting() -> None:
    """In a reduction, in which the first process does not take part."""
    if not distributed.rank():
        raise UserError(FIRST_FAILS)
    distributed.sum_over_processes(torch.ones(1))


def a_fault_of_ours() -> None:
    if not distributed.rank():
        raise ZeroDivisionError(FIRST_FAILS)
    distributed.sum_over_processes(torch.ones(1))


def lagging() -> None:
    """All have made one call; two wait in the second one, which the process of rank 1 never makes."""
    flight.leave_traces_in(Path("flight"))
    distributed.sum_over_processes(torch.ones(2, 3000))
    if distributed.rank() == 1:
        dawdle()
    elif distributed.rank() == 2:  # whose own time-out is far away
        work = dist.all_reduce(torch.ones(2, 3000), async_op=True)
        Path("waits").touch()
        work.wait()
    wait_for("waits")
    group: Any = dist.group.WORLD
    group._get_backend(torch.device("cpu"))._set_default_timeout(timedelta(milliseconds=50))
    distributed.sum_over_processes(torch.ones(2, 3000))


def lagging_on_gpus() -> None:
    """As where NCCL finds that a call has timed out: it says so in the store, and who waits on a GPU hears nothing."""
    flight.talks_by_nccl = peers.talks_by_nccl = lambda: True
    flight.leave_traces_in(Path("flight"))
    distributed.sum_over_processes(torch.ones(2, 3000))
    if distributed.rank() == 1:
        dawdle()
    dist.all_reduce(torch.ones(2, 3000), async_op=True)
    peers._shared(processes._PEERS[-1].store).set(peers.LATE_BY_NCCL, "0")
    threading.Event().wait()


def dawdle() -> None:
    threading.Event().wait()


class Slow(Pictures):
    """The second process gets a signal at its first picture; the first one hears of it between two of its batches."""

    source, channels = "slow", 3

    def __init__(self) -> None:
        self.read_so_far = 0

    def __len__(self) -> int:
        return 40

    def read(self, index: int) -> Tensor:
        self.read_so_far += 1
        if distributed.rank():
            os.kill(os.getpid(), signal.SIGUSR1)
        elif self.read_so_far > 4:
            while not signal_of_any(0):
                time.sleep(0.01)
        return torch.zeros(3, 8, 8, dtype=torch.uint8)

    def name(self, index: int) -> str:
        return f"{index}.png"


def a_signal_to_one() -> None:
    from swav_cli.core.weights import About, Model
    from swav_cli.evaluate.extraction.extract import ExtractRequest, extract

    about = About("resnet18", width=4, stem="small", size=8)
    pictures = Slow()
    torch.manual_seed(0)
    model: nn.Module = about.build()
    try:
        request = ExtractRequest(device="cpu", batch_size=2, workers=0)
        extract(Model(model, about), pictures, "feats.npy", request)  # type: ignore[arg-type]
    except Interrupted as stop:
        print(stop.exit_code, pictures.read_so_far, flush=True)
        raise


def trained() -> None:
    """Gradients have been averaged while the backward pass went on."""
    from swav_cli.core.optimizer import LARS

    network = nn.Linear(2, 2)
    distributed.shared_gradients(network, torch.device("cpu"))(torch.ones(3, 2)).sum().backward()
    LARS(network.parameters(), lr=0.1).step()


def not_judged() -> None:
    """After the first epoch all processes meet a mistake, after the second one of them alone; then training goes on."""
    from swav_cli.report.console import Screen
    from swav_cli.tasks.after_training import judged_on_the_way

    class Telling(Screen):
        def warn(self, text: str) -> None:
            print(text, flush=True)

    def judge(epoch: int) -> dict[str, float]:
        if epoch == 0 or not distributed.rank():
            raise UserError(FIRST_FAILS)
        distributed.sum_over_processes(torch.ones(1))
        return {}

    for epoch in range(2):
        distributed.sum_over_processes(torch.ones(3))
        judged_on_the_way(lambda: judge(epoch), epoch, Telling())  # noqa: B023  (called at once)
    distributed.sum_over_processes(torch.ones(3))


def threads() -> list[str]:
    """Of this process, by the names that torch gives them."""
    return [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]


FAULTS: dict[str, Callable[[], None]] = {
    "stuck": stuck, "waiting": waiting, "ours": a_fault_of_ours, "signal": a_signal_to_one, "trained": trained,
    "not judged": not_judged, "nothing": lambda: None, "lagging": lagging, "lagging on GPUs": lagging_on_gpus,
}  # fmt: skip


def main() -> None:
    peers.TIME_TO_END = 1.0
    peers.TIME_TO_WRITE = 0.0
    peers.TIME_TO_ANSWER = 60.0  # which a busy machine may need; all answer at once
    peers.TIME_TO_AGREE = float(os.environ.get("TIME_TO_AGREE", peers.TIME_TO_AGREE))
    try:
        with joined_processes(minutes=float(os.environ.get("MINUTES", 5))):
            FAULTS[sys.argv[1]]()
            print(*threads(), flush=True)
        print(*threads(), flush=True)
    except UserError as error:
        if not error.told:
            print(f"swav: {error}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

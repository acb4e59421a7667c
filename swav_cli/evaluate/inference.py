"""How a network is run over pictures. What it makes of them depends on the precision, and on nothing else here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from swav_cli.core.device import own_device
from swav_cli.core.precision import settle_precision
from swav_cli.data.pictures import Pictures
from swav_cli.data.reading.loader import pick_readers
from swav_cli.errors import UserError

CPU = torch.device("cpu")
LARGE = 96  # pixels of a side from which on a processor's time goes into the network, and hardly into reading


@dataclass(frozen=True)
class Inference:
    """On which device, how precisely, how many pictures at a time, and how many processes read them.

    >>> Inference(torch.device("cuda"), "bf16", batch_size=512).workers
    'auto'
    """

    device: torch.device = CPU
    precision: str = "float32"  # or bf16, or float64
    batch_size: int | None = None  # pictures at a time; None: as suits the device
    workers: int | Literal["auto"] = "auto"  # 0: the process itself reads

    @classmethod
    def wanted(
        cls, device: str = "auto", precision: str = "auto", batch_size: int | None = None, workers: int | None = None
    ) -> Inference:
        """What a command's options of these names mean on this machine; see `own_device` for what that sets.

        Raises:
            UserError: no such device or precision, or a number out of range.
        """
        place = own_device(device)
        settled = settle_precision(precision, place)
        if batch_size is not None and batch_size < 1:
            raise UserError(f"--batch-size {batch_size}: at least 1")
        if workers is not None and workers < 0:
            raise UserError(f"--workers {workers}: 0 reads pictures in the process itself")
        return cls(place, settled, batch_size, "auto" if workers is None else workers)

    def batch(self, size: int) -> int:
        """Pictures of so many pixels a side at a time: about as many pixels in a batch whatever the size."""
        at_224 = 32 if self.device.type == "cpu" else 256
        return self.batch_size or max(1, min(1024, round(at_224 * (224 / size) ** 2)))

    def readers(self, pictures: Pictures, size: int) -> int:
        """Processes that read pictures for a network that takes so many pixels a side; none for a few pictures.

        Where a processor runs the network on large pictures, reading takes little of its time, and processes that do it
        beside the network's threads make those wait: 88 against 98 % of the bare network's speed, ResNet-50 on two
        cores.
        """
        large = self.device.type == "cpu" and size >= LARGE
        return 0 if self.workers == "auto" and large else pick_readers(self.workers, pictures, self.device)


PLAIN = Inference()  # on the processor, in float32

"""Processes that make parts of the shards in their folder, for tests; this module is the program that each runs.

With the words RANK WORLD STEPS: after so many steps the process is killed, and never where they are -1.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from swav_cli.core.weights import About, Model
from swav_cli.data.shard_files import find_shard_files
from swav_cli.evaluate.extraction.extract import ExtractRequest
from swav_cli.evaluate.extraction.part_maker import Hearer, PartMaker
from swav_cli.evaluate.extraction.parts import Parts, Share

ABOUT = About("resnet18", width=4, stem="small", size=16, source="tiny")
PLAIN = ExtractRequest(device="cpu", precision="float32", batch_size=4, workers=0)
ALL = Share()


def tiny_model() -> Model:
    torch.manual_seed(0)
    return Model(ABOUT.build().eval(), ABOUT)


def parts_of(share: Share = ALL, *given: str) -> Parts:
    return Parts(Path("feats"), find_shard_files(given or ["shards"], Path("feats")), share)


def begun(maker: PartMaker, share: Share = ALL, *, resume: bool = True, overwrite: bool = False) -> Parts:
    parts = parts_of(share)
    parts.begin(maker.settings, maker.model, resume=resume, overwrite=overwrite)
    return parts


def main(rank: int, world: int, steps: int) -> None:
    left = [steps]

    def step(done: int) -> None:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

    maker = PartMaker(tiny_model(), PLAIN)
    maker.work(begun(maker), (rank, world), Hearer(step, lambda: False))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

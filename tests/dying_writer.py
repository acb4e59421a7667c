"""The command, whose first process is killed in the middle of writing a checkpoint: the SAVES-th that it writes.

`python -m tests.dying_writer ARGUMENTS…` stands for `python -m swav_cli ARGUMENTS…`.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import torch

from swav_cli.app import main

save, left = torch.save, [int(os.environ["SAVES"])]


def save_half(content: Any, file: Any, *more: Any, **options: Any) -> None:
    save(content, file, *more, **options)
    left[0] -= 1
    if not left[0] and os.environ["RANK"] == "0":
        os.truncate(file, os.path.getsize(file) // 2)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    torch.save = save_half
    main()

"""Processes of one command on machines that share no disk, for tests: each works in a folder of its own.

`python -m tests.apart COMMANDS.json` runs swav's command lines of that file one after the other in `machine-RANK`, and
prints the exit code of each.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from swav_cli.app import main


def run_one_after_the_other(commands: list[list[str]]) -> None:
    os.chdir(f"machine-{os.environ['RANK']}")
    for command in commands:
        sys.argv = ["swav", *command]
        try:
            main()
        except SystemExit as ended:
            print(ended.code or 0, flush=True)


if __name__ == "__main__":
    run_one_after_the_other(json.loads(Path(sys.argv[1]).read_text()))

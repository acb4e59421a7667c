"""`srun swav …`: rank and number of processes from SLURM's own variables, under torchrun's names."""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping


def adopt_slurm(variables: MutableMapping[str, str] = os.environ) -> None:
    """Set RANK, WORLD_SIZE and their kin for a task of a step of several; they meet at the step's first machine.

    torchrun's variables win where they are there. A batch script, which is no such step, is left alone.
    """
    if "RANK" in variables or "SLURM_PROCID" not in variables or number(variables, "SLURM_STEP_NUM_TASKS") < 2:
        return
    variables["RANK"] = variables["SLURM_PROCID"]
    variables["WORLD_SIZE"] = variables["SLURM_STEP_NUM_TASKS"]
    variables["LOCAL_RANK"] = variables.get("SLURM_LOCALID", "0")
    tasks = tasks_by_machine(variables.get("SLURM_STEP_TASKS_PER_NODE", "1"))
    variables["LOCAL_WORLD_SIZE"] = str(tasks[min(number(variables, "SLURM_NODEID"), len(tasks) - 1)] if tasks else 1)
    variables.setdefault("MASTER_ADDR", first_machine(variables.get("SLURM_STEP_NODELIST", "localhost")))
    variables.setdefault("MASTER_PORT", str(_port(variables)))


def _port(variables: MutableMapping[str, str]) -> int:
    """The same in all tasks of a step, another for another step: two on one machine must not meet."""
    job, step = (number(variables, name) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return 20_000 + (17 * job + step) % 30_000


def number(variables: MutableMapping[str, str], name: str) -> int:
    """A variable's number; 0 where there is none."""
    value = variables.get(name, "")
    return int(value) if value.isdecimal() else 0


def tasks_by_machine(tasks: str) -> list[int]:
    """
    >>> tasks_by_machine("4(x2),3")
    [4, 4, 3]
    """
    counts: list[int] = []
    for number, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", tasks):
        counts += [int(number)] * int(times or 1)
    return counts


def first_machine(machines: str) -> str:
    """
    >>> first_machine("gpu[07-09,12],login1")
    'gpu07'
    """
    head, bracket, rest = machines.partition("[")
    if not bracket or "," in head:
        return machines.partition(",")[0]
    inside, _, after = rest.partition("]")
    return head + re.split(r"[-,]", inside)[0] + after.partition(",")[0]

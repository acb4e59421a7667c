"""A process's place among others, as launchers tell it: torchrun's variables, srun's and mpirun's put into them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, MutableMapping

from swav_cli.errors import UserError
from swav_cli.parallel.mpi import adopt_mpi
from swav_cli.parallel.slurm import adopt_slurm

LEAST = {"WORLD_SIZE": 1, "RANK": 0, "LOCAL_WORLD_SIZE": 1, "LOCAL_RANK": 0, "MASTER_PORT": 1}  # of each number


def adopt_place(variables: MutableMapping[str, str] = os.environ) -> None:
    """Set RANK, WORLD_SIZE and their kin where another launcher than torchrun tells them; its own win.

    A variable that is empty, as templates of jobs leave it, is taken for one that is not there.
    """
    for name in (*LEAST, "MASTER_ADDR"):
        if not variables.get(name, "x").strip():
            del variables[name]
    adopt_mpi(variables)
    adopt_slurm(variables)


def is_first() -> bool:
    """Whether this is the first of the processes that were started, joined yet or not: the one that speaks."""
    return os.environ.get("RANK", "0") == "0"


def was_restarted() -> bool:
    """Whether torchrun started the processes anew, after one of them died: then work goes on and never begins again."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def check_environment(variables: Mapping[str, str] = os.environ) -> int:
    """How many processes there are, of which this is one.

    Raises:
        UserError: what the variables tell is no place among others. Every process that finds so says it.
    """
    try:
        return _checked(variables)
    except UserError as error:
        error.told = False
        raise


def _checked(variables: Mapping[str, str]) -> int:
    _check_numbers(variables, [name for name in LEAST if name != "MASTER_PORT"])
    world, rank = (int(variables.get(name, default)) for name, default in (("WORLD_SIZE", 1), ("RANK", 0)))
    if rank >= world:
        raise UserError(f"RANK={rank}: {world} processes (WORLD_SIZE) have ranks from 0 to {world - 1}")
    local_world, local = (int(variables.get(name, 0)) for name in ("LOCAL_WORLD_SIZE", "LOCAL_RANK"))
    if local_world and local >= local_world:
        raise UserError(
            f"LOCAL_RANK={local}: {local_world} processes of a machine (LOCAL_WORLD_SIZE) have ranks from 0 to "
            f"{local_world - 1}"
        )
    if world == 1 or "RANK" not in variables:
        return 1
    # Asked of several processes alone: Kubernetes gives it another meaning where a service is called "master".
    _check_numbers(variables, ["MASTER_PORT"])
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in variables]
    if missing:
        raise UserError(
            f"{' and '.join(missing)} not set, so that the {world} processes don't know where to meet: give each the "
            "first process's machine and a free port there, such as mpirun -x MASTER_ADDR=HOST -x MASTER_PORT=29500"
        )
    return world


def _check_numbers(variables: Mapping[str, str], names: Iterable[str]) -> None:
    for name in names:
        least = LEAST[name]
        value = variables.get(name, str(least))
        if not value.isdecimal() or int(value) < least:
            raise UserError(f"{name}='{value}': is no number from {least} on; unset it, or let a launcher set it")

"""`mpirun swav …`: rank and number of processes from the variables of Open MPI and MPICH, under torchrun's names.

MPI itself is not used: it only starts the processes.
"""

from __future__ import annotations

import zlib
from collections.abc import MutableMapping
from typing import NamedTuple

from swav_cli.parallel.slurm import first_machine, number

PORT = "29500"  # torchrun's own, where nothing tells one job from another


class Family(NamedTuple):
    """How one launcher calls rank, number of processes, and both on this machine."""

    rank: str
    world: str
    local_rank: str
    local_world: str


FAMILIES = (
    Family("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    Family("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_SIZE"),
    Family("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),  # MPICH and Intel
    Family("PMI_RANK", "PMI_SIZE", "PMI_LOCAL_RANK", "PMI_LOCAL_SIZE"),  # Cray
)
JOBS = ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "OMPI_MCA_orte_ess_jobid", "PMI_JOBID", "PALS_APID")


def adopt_mpi(variables: MutableMapping[str, str]) -> None:
    """Set RANK, WORLD_SIZE and their kin for one of several processes that mpirun or mpiexec started.

    They meet at this machine where all of them are on it, else at the first of SLURM's where that gave them; else
    MASTER_ADDR has to be given. SLURM's own variables then tell of mpirun's daemons, one a machine: nothing for us.
    """
    family = next((each for each in FAMILIES if all(name in variables for name in each)), None)
    if "RANK" in variables or family is None:
        return
    rank, world, local_rank, local_world = (number(variables, name) for name in family)
    if world < 2:
        return
    variables["RANK"], variables["WORLD_SIZE"] = str(rank), str(world)
    variables["LOCAL_RANK"], variables["LOCAL_WORLD_SIZE"] = str(local_rank), str(local_world)
    if local_world == world:
        variables.setdefault("MASTER_ADDR", "127.0.0.1")
    elif "SLURM_JOB_NODELIST" in variables:
        variables.setdefault("MASTER_ADDR", first_machine(variables["SLURM_JOB_NODELIST"]))
    job = next((variables[name] for name in JOBS if name in variables), None)
    variables.setdefault("MASTER_PORT", str(20_000 + zlib.crc32(job.encode()) % 30_000) if job else PORT)

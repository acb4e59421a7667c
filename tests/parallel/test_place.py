"""A process knows its place by whatever started it; what is no place is one line."""

from __future__ import annotations

import pytest

from swav_cli.errors import UserError
from swav_cli.parallel.place import adopt_place, check_environment
from tests.conftest import Command

OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "PMIX_NAMESPACE": "prterun-node1-7@1",
}  # fmt: skip
MPICH = {"PMI_RANK": "3", "PMI_SIZE": "4", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}
MVAPICH = {name.replace("OMPI", "MV2"): value for name, value in OPEN_MPI.items() if name.startswith("OMPI")}
PLACE = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}


@pytest.mark.parametrize("launched", [OPEN_MPI, MPICH, MVAPICH], ids=["open-mpi", "mpich", "mvapich"])
def test_a_process_of_mpirun_knows_its_place(launched: dict[str, str]) -> None:
    variables = dict(launched)
    adopt_place(variables)
    assert {name: variables[name] for name in PLACE} == PLACE
    with pytest.raises(UserError, match=r"MASTER_ADDR not set, so that the 4 processes don't know where to meet"):
        check_environment(variables)


def test_all_on_one_machine_meet_there_and_jobs_apart() -> None:
    ports = set()
    for job in ("a@1", "b@1"):
        variables = {**OPEN_MPI, "OMPI_COMM_WORLD_LOCAL_SIZE": "4", "PMIX_NAMESPACE": job}
        adopt_place(variables)
        assert variables["MASTER_ADDR"] == "127.0.0.1"
        assert check_environment(variables) == 4
        ports.add(variables["MASTER_PORT"])
    assert len(ports) == 2


def test_mpirun_within_slurm() -> None:
    """SLURM's own variables are those of mpirun's daemons, one a machine: both processes of the second have rank 1."""
    daemon = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_NODELIST": "n[3-4]"}
    variables = {**OPEN_MPI, **daemon}
    adopt_place(variables)
    assert {name: variables[name] for name in PLACE} == PLACE
    assert variables["MASTER_ADDR"] == "n3"
    assert check_environment(variables) == 4


@pytest.mark.parametrize(
    "variables",
    [
        {**OPEN_MPI, "RANK": "0", "WORLD_SIZE": "2"}, {**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "1"},
        {"PMI_RANK": "1", "PMI_SIZE": "2"},  # as srun --mpi=pmi2 has them beside its own, which tell more
        {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "x"}, {},
    ],
)  # fmt: skip
def test_others_are_left_alone(variables: dict[str, str]) -> None:
    before = dict(variables)
    adopt_place(variables)
    assert variables == before


def test_what_is_empty_is_not_there() -> None:
    variables = {"WORLD_SIZE": "", "RANK": " ", "LOCAL_RANK": "", "MASTER_PORT": "", "MASTER_ADDR": "", "HOME": ""}
    adopt_place(variables)
    assert variables == {"HOME": ""}
    assert check_environment(variables) == 1


MET = {"MASTER_ADDR": "n1", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"WORLD_SIZE": "x"}, "WORLD_SIZE='x': is no number from 1 on"),
        ({"WORLD_SIZE": "0", "RANK": "0"}, "WORLD_SIZE='0': is no number from 1 on"),
        ({"WORLD_SIZE": "2", "RANK": "-1"}, "RANK='-1': is no number from 0 on"),
        ({"WORLD_SIZE": "2", "RANK": "1.0"}, "RANK='1.0': is no number"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK=2: 2 processes (WORLD_SIZE) have ranks from 0 to 1"),
        ({"RANK": "3"}, "RANK=3: 1 processes"),
        ({"LOCAL_RANK": "x"}, "LOCAL_RANK='x': is no number"),
        ({"LOCAL_WORLD_SIZE": "0"}, "LOCAL_WORLD_SIZE='0': is no number from 1 on"),
        ({"LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "2"}, "LOCAL_RANK=2: 2 processes of a machine"),
        ({"WORLD_SIZE": "2", "RANK": "0", **MET, "MASTER_PORT": "http"}, "MASTER_PORT='http': is no number from 1 on"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "MASTER_ADDR and MASTER_PORT not set"),
    ],
)
def test_what_is_no_place(variables: dict[str, str], told: str) -> None:
    with pytest.raises(UserError) as caught:
        check_environment(variables)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.told is False  # each process that finds so says it, whatever its rank is


def test_one_process_of_many_that_is_alone() -> None:
    assert check_environment({"WORLD_SIZE": "8"}) == 1  # a pod that trains by itself
    assert check_environment({"MASTER_PORT": "tcp://10.96.0.1:6443"}) == 1  # beside a service that is called so
    assert check_environment({"WORLD_SIZE": "8", "RANK": "0", **MET}) == 8


def test_a_command_says_so_in_one_line(swav_here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WORLD_SIZE", "x"), ("RANK", "1")):
        monkeypatch.setenv(name, value)
    said = swav_here("recipes")
    assert said.code == 2
    assert said.err == "swav: WORLD_SIZE='x': is no number from 1 on; unset it, or let a launcher set it\n"
    monkeypatch.setenv("WORLD_SIZE", "")
    monkeypatch.setenv("RANK", "")
    assert swav_here("recipes").code == 0

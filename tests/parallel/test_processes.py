"""Several processes are one: losses, gradients, weights, queue and health; pictures each once, whoever reads them."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from swav_cli.parallel.slurm import adopt_slurm, first_machine, tasks_by_machine
from tests.conftest import made_once
from tests.processes import start_together
from tests.together import BATCH, COUNT, run_together

ALL = ("synchronised", "synchronised-float32", "following", "apart", "statistics", "largest")


def found_by(factory: pytest.TempPathFactory, world: int, *names: str) -> dict[str, Any]:
    """What came of each scenario by so many processes."""
    folder = made_once(factory, f"together-{world}", lambda folder: run_together(world, folder, *names))
    return {name: torch.load(folder / f"{world}-{name}.pt", weights_only=True) for name in names}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return found_by(tmp_path_factory, 1, *ALL[:3], "two-parts", "three-parts", "clusters-in-parts")


@pytest.fixture(scope="module", params=[2, 3])
def together(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any]]:
    of_two = ("grouped", "clusters") if request.param == 2 else ()
    return request.param, found_by(tmp_path_factory, request.param, *ALL, *of_two)


def trained(world: int, folder: Path, *words: str, **more: str) -> list[subprocess.Popen[str]]:
    return start_together(world, folder, *words, cwd=folder, module="tests.together", **more)


def weights_alike(a: dict[str, Any], b: dict[str, Any], tolerance: float, *, statistics: bool = True) -> None:
    for name, tensor in a["model"].items():
        if statistics or ("running_" not in name and "num_batches" not in name):
            torch.testing.assert_close(b["model"][name], tensor, rtol=tolerance, atol=tolerance, msg=name)


def test_synchronised_processes_equal_one(alone: dict[str, Any], together: tuple[int, dict[str, Any]]) -> None:
    """Fourteen steps, the last two with a full queue; every tensor, running statistics included."""
    one, several = alone["synchronised"], together[1]["synchronised"]
    torch.testing.assert_close(several["steps"], one["steps"], rtol=1e-6, atol=0)  # told in float32
    weights_alike(one, several, 1e-10)
    assert int(one["queue"]["filled"]) == int(several["queue"]["filled"]) >= 48
    torch.testing.assert_close(several["queue"]["embeddings"], one["queue"]["embeddings"], rtol=1e-10, atol=1e-10)
    assert torch.equal(one["prototype_counts"], several["prototype_counts"])
    assert several["health"] == pytest.approx(one["health"], rel=1e-6)


def test_an_epsilon_that_follows_the_spread_follows_that_of_all_pictures(
    alone: dict[str, Any], together: tuple[int, dict[str, Any]]
) -> None:
    one, several = alone["following"], together[1]["following"]
    assert not torch.equal(one["steps"], alone["synchronised"]["steps"][: len(one["steps"])])
    weights_alike(one, several, 1e-10)


def test_a_group_of_all_processes_equals_one(alone: dict[str, Any], together: tuple[int, dict[str, Any]]) -> None:
    if together[0] != 2:
        pytest.skip("a group of two is all of two processes alone")
    weights_alike(alone["synchronised"], together[1]["grouped"], 1e-10)


def test_groups_that_the_processes_do_not_make_up_are_refused(tmp_path: Path) -> None:
    processes = trained(3, tmp_path, "it", "grouped")
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert all("training.sync_batchnorm (2) does not divide the 3 processes" in text for text in said)


def test_processes_that_do_not_all_come_are_one_line(tmp_path: Path) -> None:
    (process,) = trained(1, tmp_path, "it", "apart", WORLD_SIZE="2", MINUTES="0.05")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "PeerLost: the 2 processes did not all meet at 127.0.0.1:" in said
    assert " within 0.05 minutes; is each of them started" in said


def test_no_room_is_one_line_of_each(tmp_path: Path) -> None:
    for process in trained(2, tmp_path, "it", "full"):
        said = process.communicate(timeout=300)[1]
        assert "swav_cli.errors.MemoryFull: the memory is full; send fewer pictures" in said.splitlines()[-1]


def test_in_single_precision_too(alone: dict[str, Any], together: tuple[int, dict[str, Any]]) -> None:
    one, several = alone["synchronised-float32"], together[1]["synchronised-float32"]
    torch.testing.assert_close(several["steps"][:, 0], one["steps"][:, 0], rtol=1e-5, atol=0)
    weights_alike(one, several, 1e-5)


def test_processes_without_synchronised_norms_equal_accumulated_parts(
    alone: dict[str, Any], together: tuple[int, dict[str, Any]]
) -> None:
    """Every trained weight; running statistics are of one part each there, and the mean of all here."""
    world, several = together
    one = alone["two-parts" if world == 2 else "three-parts"]
    torch.testing.assert_close(several["apart"]["steps"], one["steps"], rtol=1e-6, atol=0)
    weights_alike(one, several["apart"], 1e-10, statistics=False)
    torch.testing.assert_close(
        several["apart"]["queue"]["embeddings"], one["queue"]["embeddings"], rtol=1e-10, atol=1e-10
    )


def test_clusters_of_processes_equal_those_of_one(alone: dict[str, Any], together: tuple[int, dict[str, Any]]) -> None:
    """Memory, centroids and targets as the same batches in as many parts leave them, a second epoch begun."""
    if together[0] != 2:
        pytest.skip("two processes show it")
    one, several = alone["clusters-in-parts"], together[1]["clusters"]
    torch.testing.assert_close(several["steps"], one["steps"], rtol=1e-6, atol=0)
    weights_alike(one, several, 1e-10, statistics=False)
    for name in ("memory", "centroids"):
        torch.testing.assert_close(several[name], one[name], rtol=1e-10, atol=1e-10)
    assert torch.equal(several["targets"], one["targets"])
    assert torch.equal(several["prototype_counts"], one["prototype_counts"])


def test_running_statistics_are_the_mean_of_all_processes(together: tuple[int, dict[str, Any]]) -> None:
    world, found = together[0], together[1]["statistics"]
    assert len(found["own"]) == world
    assert not torch.equal(found["own"][0], found["own"][1])
    for kept in found["kept"]:
        torch.testing.assert_close(kept, torch.stack(found["own"]).mean(dim=0), rtol=1e-12, atol=1e-12)


def test_all_hear_the_largest_of_all(together: tuple[int, dict[str, Any]]) -> None:
    world, found = together[0], together[1]["largest"]
    assert found["heard"] == [[0, world - 1, 1]] * (3 * world)


def test_every_picture_once_an_epoch_through_stops_and_another_number_of_processes(tmp_path: Path) -> None:
    """Two processes, then one, then three: an epoch has 6 steps of 24 pictures."""
    stretches = [(2, 4), (1, 3), (3, 5)]  # 12 steps, two whole epochs; stops fall within both
    queues = []
    for world, count in stretches:
        processes = trained(world, tmp_path, "it", "stretch", STEPS=str(count))
        for process in processes:
            _, failed = process.communicate(timeout=300)
            assert process.returncode == 0, failed[-3000:]
        queues.append(torch.load(tmp_path / "it-stretch.pt", weights_only=True))
    read = [int(line) for line in (tmp_path / "read.txt").read_text().split()]
    assert len(read) == 2 * COUNT
    assert len(Counter(read)) == COUNT
    assert set(Counter(read).values()) == {2}
    assert set(Counter(read[:COUNT]).values()) == {1}
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    (process,) = trained(1, undisturbed, "it", "stretch", STEPS="12")
    _, failed = process.communicate(timeout=300)
    assert process.returncode == 0, failed[-3000:]
    assert read == sorted_by_step(undisturbed, read)
    whole = torch.load(undisturbed / "it-stretch.pt", weights_only=True)
    assert int(whole["step"]) == int(queues[-1]["step"]) == 12
    assert whole["queue"]["embeddings"].shape == queues[-1]["queue"]["embeddings"].shape


def sorted_by_step(undisturbed: Path, read: list[int]) -> list[int]:
    """The undisturbed order, in which processes that read at once may stand in any order within a step."""
    plain = [int(line) for line in (undisturbed / "read.txt").read_text().split()]
    found = []
    for first in range(0, len(plain), BATCH):
        of_step = set(plain[first : first + BATCH])
        assert of_step == set(read[first : first + BATCH])
        found += read[first : first + BATCH]
    return found


# --- srun -----------------------------------------------------------------------------------------------------------

STEP = {
    "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)", "SLURM_STEP_NODELIST": "gpu[07-08]", "SLURM_JOB_ID": "12",
    "SLURM_STEP_ID": "0",
}  # fmt: skip


def test_a_task_of_srun_knows_its_place() -> None:
    variables = dict(STEP)
    adopt_slurm(variables)
    place = {
        "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "gpu07",
    }  # fmt: skip
    assert {name: variables[name] for name in place} == place
    assert 20_000 <= int(variables["MASTER_PORT"]) < 50_000


@pytest.mark.parametrize(
    "other", [{"RANK": "0", "WORLD_SIZE": "2"}, {"SLURM_STEP_NUM_TASKS": "1"}, {"SLURM_STEP_NUM_TASKS": ""}]
)
def test_torchrun_and_single_tasks_are_left_alone(other: dict[str, str]) -> None:
    variables = {key: value for key, value in {**STEP, **other}.items() if value}
    before = dict(variables)
    adopt_slurm(variables)
    assert variables == before


@pytest.mark.parametrize(
    ("machines", "first"),
    [("gpu[07-09,12],login1", "gpu07"), ("a1,b[2-3]", "a1"), ("n3", "n3"), ("r[1,4]-ib", "r1-ib"), ("x[2-3]", "x2")],
)
def test_the_first_machine(machines: str, first: str) -> None:
    assert first_machine(machines) == first


def test_tasks_by_machine() -> None:
    assert tasks_by_machine("4(x2),3") == [4, 4, 3]
    assert tasks_by_machine("8") == [8]

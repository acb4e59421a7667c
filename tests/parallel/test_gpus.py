"""Each process of a machine takes a GPU of its own, however many it sees; two on one are told. No GPU is needed."""

from __future__ import annotations

import pytest
import torch

from swav_cli.core.device import own_device, pick_device
from swav_cli.errors import UserError
from swav_cli.parallel import gpus
from swav_cli.parallel.gpus import Gpu, gpu_of, identity, own_gpu, shared_gpu
from swav_cli.parallel.launching import launch


def taken(local_ranks: range, visible: list[list[str]]) -> list[Gpu | None]:
    """What processes of a machine take, each of which sees some of its GPUs."""
    return [Gpu("n1", visible[rank][gpu_of(rank, len(visible[rank]))]) for rank in local_ranks]


@pytest.mark.parametrize(
    "visible",
    [
        [["a", "b", "c", "d"]] * 4,  # torchrun
        [["a"], ["b"], ["c"], ["d"]],  # srun --gpus-per-task=1, or CUDA_VISIBLE_DEVICES set for each
        [["a", "b"], ["c", "d"], ["e", "f"], ["g", "h"]],  # srun --gpus-per-task=2
        [["a", "b", "c", "d", "e"]] * 4,
    ],
)
def test_each_has_its_own(visible: list[list[str]]) -> None:
    found = taken(range(4), visible)
    assert len({gpu.identity for gpu in found if gpu}) == 4
    assert shared_gpu(found) is None


def test_two_on_one_are_told() -> None:
    said = shared_gpu(taken(range(3), [["GPU-1a", "GPU-2b"]] * 3))
    assert said is not None
    assert said.startswith("processes 0 and 2 on n1 have taken the same GPU (GPU-1a), and each needs one of its own")
    assert "\n" not in said
    assert "processes 0, 1 and 2 on" in str(shared_gpu(taken(range(3), [["GPU-1a"]] * 3)))


def test_processes_without_a_gpu_share_none() -> None:
    assert shared_gpu([None, None]) is None
    assert shared_gpu([None, Gpu("n1", "a")]) is None


@pytest.mark.parametrize(
    ("visible", "number", "otherwise", "found"),
    [
        ("", 1, "GPU-1a", "GPU-1a"),
        ("2,3", 1, "GPU-1a", "GPU-1a"),
        ("GPU-77,GPU-88", 0, "GPU-77", "GPU-77"),
        ("MIG-5c, MIG-6d", 1, "GPU-1a", "MIG-6d"),  # slices of one GPU, whose UUID they have in common
        ("MIG-5c", 1, "GPU-1a", "GPU-1a"),
        ("", 1, "n1", "n1, GPU 1"),  # no UUID is told
    ],
)
def test_what_no_other_gpu_is_called(visible: str, number: int, otherwise: str, found: str) -> None:
    assert identity(visible, number, otherwise) == found


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """As if there were two; those that were made current."""
    made_current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    def set_device(device: torch.device) -> None:
        if device.index is None:
            raise ValueError(f"Expected a torch.device with a specified index or an integer, but got:{device}")
        made_current.append(device)

    monkeypatch.setattr(torch.cuda, "set_device", set_device)
    return made_current


@pytest.mark.parametrize(
    ("device", "local", "found"),
    [
        ("auto", "1", "cuda:1"), ("cuda", "0", "cuda:0"), ("cuda", "3", "cuda:1"), ("cuda:0", "1", "cuda:0"),
        ("cpu", "1", "cpu"), ("auto", None, "auto"),
    ],
)  # fmt: skip
def test_devices_of_one_of_several(device: str, local: str | None, found: str, two_gpus: list[torch.device]) -> None:
    assert own_gpu(device, {} if local is None else {"LOCAL_RANK": local}) == found


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_the_current_device_stays_where_none_is_numbered(device: str, two_gpus: list[torch.device]) -> None:
    assert own_device(device) == torch.device("cuda")
    assert two_gpus == []


def test_the_device_is_made_current(two_gpus: list[torch.device], monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what names none, as a thread that pins memory, opens no other."""
    assert own_device("cuda:1") == torch.device("cuda:1")
    assert own_device("cpu") == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device("auto") == torch.device("cuda:1")
    assert two_gpus == [torch.device("cuda:1")] * 2
    assert gpus.taken_gpu(torch.device("cpu")) is None


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_more_processes_than_gpus(device: str, two_gpus: list[torch.device], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(UserError) as caught:
        launch(3, device, pick_device(device))
    assert str(caught.value).startswith(
        "--devices 3: each process takes a GPU of its own, and this machine shows 2 GPUs; use --devices 2, or"
    )

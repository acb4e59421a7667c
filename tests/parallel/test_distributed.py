"""Alone, rank is 0 of 1 and a sum changes nothing; with two processes, codes are those of the joined batch."""

from __future__ import annotations

import warnings

import pytest
import torch

from swav_cli.core.device import pick_device
from swav_cli.errors import UserError
from swav_cli.parallel import distributed
from tests.processes import start

TWO = """
import sys, torch, torch.distributed as dist
from swav_cli.parallel import distributed
from swav_cli.core.sinkhorn import sinkhorn
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=sys.argv[2], rank=rank, world_size=2)
torch.manual_seed(0)
scores = torch.rand(12, 5, dtype=torch.float64) * 2 - 1
share = distributed.local_share(12)
assert (share.start, share.stop) == ((0, 6) if rank == 0 else (6, 12))
whole = torch.load(sys.argv[3])
torch.testing.assert_close(sinkhorn(scores[share], 0.01, 3), whole[share], rtol=1e-10, atol=0)
p = torch.nn.Parameter(torch.zeros(3)); p.grad = torch.full((3,), float(rank))
distributed.average_gradients([p])
assert p.grad.tolist() == [0.5] * 3
assert distributed.is_writer() == (rank == 0)
print("right", flush=True)
"""


def test_alone() -> None:
    values = torch.tensor([1.0, 2.0])
    assert distributed.world_size() == 1
    assert distributed.rank() == 0
    assert distributed.is_writer()
    assert torch.equal(distributed.sum_over_processes(values.clone()), values)
    assert torch.equal(distributed.max_over_processes(values.clone()), values)
    assert torch.equal(distributed.mean_over_processes(values.clone()), values)
    assert distributed.local_share(10) == slice(0, 10)


def test_codes_and_gradients_of_two_processes(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from swav_cli import sinkhorn

    torch.manual_seed(0)
    torch.save(sinkhorn(torch.rand(12, 5, dtype=torch.float64) * 2 - 1, 0.01, 3), tmp_path / "whole.pt")
    place = f"file://{tmp_path}/meeting"
    processes = [start(TWO, rank, place, tmp_path / "whole.pt", module="-c", cwd=tmp_path) for rank in range(2)]
    for process in processes:
        said, failed = process.communicate(timeout=100)
        assert said == "right\n", failed


@pytest.mark.parametrize(
    ("name", "cuda", "kind"),
    [("cpu", True, "cpu"), ("cpu", False, "cpu"), ("auto", True, "cuda"), ("auto", False, "cpu")],
)
def test_devices(name: str, cuda: bool, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An Apple GPU is taken after a look at what it computes, which has tests of its own."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device(name).type == kind


@pytest.mark.parametrize("name", ["tpu9", "cuda:77", "gpu"])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(UserError, match="--device"):
        pick_device(name)


def test_a_warning_of_torch_that_means_nothing_here_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "DistributedDataParallel", lambda network, **_: network)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        distributed.shared_gradients(torch.nn.Identity(), torch.device("cpu"))
        warnings.warn("Grad strides do not match bucket view strides. This may indicate ...", stacklevel=1)
        warnings.warn("another one", stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["another one"]

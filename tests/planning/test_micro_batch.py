"""Parts of a batch: equal ones, the largest that fits, and refusals that say what would do."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from swav_cli.core.swav import Trainer
from swav_cli.data.reading.loader import Batch
from swav_cli.errors import UserError
from swav_cli.parallel import distributed
from swav_cli.planning import micro_batch
from swav_cli.planning.micro_batch import divisors, fits, in_micro_batches, largest_that_fits
from tests.conftest import tiny_recipe

CPU = torch.device("cpu")


@pytest.mark.parametrize(("wanted", "parts"), [(2, 4), (4, 2), (8, 1), (100, 1)])
def test_a_number_becomes_parts(wanted: int, parts: int) -> None:
    recipe, found = in_micro_batches(tiny_recipe(), wanted, CPU)
    assert recipe.training.accumulate == found.value == parts
    assert recipe.training.batch_size == 8


@pytest.mark.parametrize(("wanted", "near"), [(3, 2), (5, 4), (7, 4)])
def test_unequal_parts_are_refused_with_what_would_do(wanted: int, near: int) -> None:
    with pytest.raises(UserError, match=f"no equal parts of {wanted}, .* try --micro-batch {near}"):
        in_micro_batches(tiny_recipe(), wanted, CPU)


def test_synchronised_norms_are_refused_with_the_reason() -> None:
    with pytest.raises(UserError, match="exclude"):
        in_micro_batches(tiny_recipe("training.sync_batchnorm=true"), 4, CPU)


def test_auto_needs_a_gpu() -> None:
    with pytest.raises(UserError, match="give a number on this device"):
        in_micro_batches(tiny_recipe(), "auto", CPU)


@pytest.mark.parametrize(("room", "found"), [(1000, 96), (95, 48), (5, 4), (2, 2), (1, 0)])
def test_the_largest_that_fits(room: int, found: int) -> None:
    tried: list[int] = []

    def has_room(count: int) -> bool:
        tried.append(count)
        return count <= room

    assert largest_that_fits(divisors(96), has_room) == found
    assert tried == sorted(tried, reverse=True)


def test_a_process_of_one_picture_takes_it_whole() -> None:
    recipe, found = in_micro_batches(tiny_recipe("training.batch_size=2", "loss.queue.length=0"), 2, CPU)
    assert (recipe.training.accumulate, found.value) == (1, 1)
    assert divisors(1) == [1]


Tried = list[tuple[Trainer, list[Batch], int]]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Tried:
    """The steps that are taken to find out what fits, which are those of the run."""
    found: Tried = []
    step = Trainer.train_step

    def seen(self: Trainer, parts: list[Batch]) -> Any:
        found.append((self, parts, distributed.world_size()))
        return step(self, parts)

    monkeypatch.setattr(Trainer, "train_step", seen)
    return found


@pytest.mark.parametrize(("count", "parts"), [(8, 1), (4, 2), (2, 4)])
def test_what_is_tried_are_true_steps_at_their_fullest(tried: Tried, count: int, parts: int) -> None:
    recipe = tiny_recipe("training.compile=true", "training.sync_batchnorm=false", "optimizer.lr=1e9")
    assert fits(recipe, count, 8, CPU)
    assert len(tried) == 2  # the optimiser's memory is there in the second one
    for trainer, batches, _ in tried:
        assert [len(batch.indices) for batch in batches] == [count] * parts
        assert trainer.queue is not None
        assert trainer.queue.is_full
        assert trainer.recipe.augment == recipe.augment
    weights = tried[0][0].model.state_dict()
    fresh = Trainer(tiny_recipe(), tried[0][0].pictures, CPU).model
    fresh.normalize_prototypes()
    for name, tensor in fresh.named_parameters():
        torch.testing.assert_close(weights[name], tensor)  # nothing was learnt
    states = tried[0][0].optimizer.state_dict()["state"]
    assert len(states) == len(list(fresh.parameters()))  # frozen prototypes would have none


def test_of_many_parts_some_are_tried(tried: Tried) -> None:
    assert fits(tiny_recipe("training.batch_size=32"), 2, 32, CPU)
    assert len(tried[0][1]) == micro_batch.MOST_PARTS


def test_a_process_tries_alone_and_takes_part_again_however_it_ends(
    tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda *_: 2)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda *_: 1)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    assert fits(tiny_recipe(), 4, 4, CPU)
    assert [world for _, _, world in tried] == [1, 1]
    assert tried[0][0].queue is not None
    assert tried[0][0].queue.embeddings.shape[1] == 16  # of the 32 rows of both
    assert (distributed.world_size(), distributed.rank()) == (2, 1)
    monkeypatch.setattr(Trainer, "train_step", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fits(tiny_recipe(), 4, 4, CPU)
    assert distributed.world_size() == 2
    assert not torch.backends.cudnn.benchmark


@pytest.mark.parametrize(
    ("error", "is_lack"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8.00 GiB."), True),
        (RuntimeError("GET was unable to find an engine to execute this computation"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
    ],
)
def test_lack_of_memory_is_told_from_other_errors(
    monkeypatch: pytest.MonkeyPatch, error: RuntimeError, is_lack: bool
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Trainer, "train_step", fail)
    if is_lack:
        assert not fits(tiny_recipe(), 4, 8, CPU)
    else:
        with pytest.raises(RuntimeError, match="illegal"):
            fits(tiny_recipe(), 4, 8, CPU)


def test_what_fails_otherwise_with_large_parts_leads_to_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large_for_a_kernel(recipe: Any, count: int, own: int, device: Any) -> bool:
        if count > limit:
            raise RuntimeError(f"index of {count} out of range")
        return True

    monkeypatch.setattr(micro_batch, "fits", too_large_for_a_kernel)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    limit = 4
    assert in_micro_batches(tiny_recipe(), "auto", torch.device("cuda"))[0].training.accumulate == 2
    limit = 0
    with pytest.raises(RuntimeError, match="index of 2 out of range"):
        in_micro_batches(tiny_recipe(), "auto", torch.device("cuda"))


def test_auto_finds_what_fits_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro_batch, "fits", lambda recipe, count, own, device: count <= 5)
    recipe, _ = in_micro_batches(tiny_recipe(), "auto", torch.device("cuda"))
    assert recipe.training.accumulate == 2
    with pytest.raises(UserError, match=r"8 pictures of a process don't fit .* add --set training\.sync_batchnorm"):
        in_micro_batches(tiny_recipe("training.sync_batchnorm=8"), "auto", torch.device("cuda"))
    monkeypatch.setattr(micro_batch, "fits", lambda recipe, count, own, device: True)
    recipe, _ = in_micro_batches(tiny_recipe("training.sync_batchnorm=8"), "auto", torch.device("cuda"))
    assert recipe.training.accumulate == 1
    monkeypatch.setattr(micro_batch, "fits", lambda recipe, count, own, device: False)
    with pytest.raises(UserError, match="not even 2 pictures fit"):
        in_micro_batches(tiny_recipe(), "auto", torch.device("cuda"))

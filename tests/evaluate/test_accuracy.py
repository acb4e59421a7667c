"""Right answers, counted in batches and over processes, against a count one by one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from swav_cli.evaluate.accuracy import Tally
from tests.processes import start


def answers(classes: int = 9, count: int = 200) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(classes)
    labels = torch.randint(classes, (count,), generator=generator)
    logits = torch.randn(count, classes, generator=generator)
    logits[torch.arange(count), labels] += 0.8
    return logits, labels


def counted(classes: int, logits: Tensor, labels: Tensor, batch: int = 64) -> Tally:
    tally = Tally(classes)
    for part, own in zip(logits.split(batch), labels.split(batch), strict=True):
        tally.add(part, own)
    return tally


@pytest.mark.parametrize("classes", [2, 5, 6, 9, 30])
def test_against_a_count_one_by_one(classes: int) -> None:
    logits, labels = answers(classes)
    first = five = 0
    confusion = [[0] * classes for _ in range(classes)]
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        order = sorted(range(classes), key=lambda each: -row[each])
        first, five = first + (order[0] == label), five + (label in order[:5])
        confusion[label][order[0]] += 1
    tally = counted(classes, logits, labels)
    assert tally.top5 == pytest.approx(five / 2)
    assert tally.top1 == pytest.approx(first / 2)
    assert tally.confusion.tolist() == confusion
    assert tally.confusion.dtype == torch.int64
    assert tally.count == 200
    assert (tally.top5 == 100) == (classes <= 5)


@pytest.mark.parametrize("batch", [1, 7, 200])
def test_batches_do_not_matter(batch: int) -> None:
    assert counted(9, *answers(), batch).summary() == counted(9, *answers()).summary()


def test_classes_without_pictures_have_no_accuracy_and_no_part_in_the_mean() -> None:
    logits, labels = torch.eye(4), torch.tensor([0, 0, 2, 2])  # says 0, 1, 2, 3
    tally = counted(4, logits, labels)
    assert tally.per_class() == [50, None, 50, None]
    assert tally.summary() == {"top1": 50, "top5": 100, "mean_class_accuracy": 50, "count": 4, "unread": 0}
    uneven = counted(4, torch.eye(4), torch.tensor([0, 0, 0, 3]))
    assert uneven.summary()["mean_class_accuracy"] == pytest.approx((100 / 3 + 100) / 2)


def test_pictures_that_cannot_be_read_are_left_out_and_counted() -> None:
    logits, labels = answers()
    expected = counted(9, logits[10:], labels[10:]).summary()
    logits[:9] = torch.nan
    logits[9, 3] = torch.inf
    assert counted(9, logits, labels).summary() == {**expected, "unread": 10}
    nothing = counted(9, logits[:10], labels[:10]).summary()
    assert nothing == {"top1": 0, "top5": 0, "mean_class_accuracy": 0, "count": 0, "unread": 10}


def test_half_precision_is_counted_too() -> None:
    logits, labels = answers()
    assert counted(9, logits.bfloat16(), labels).top1 == pytest.approx(counted(9, logits, labels).top1, abs=2)


def test_what_was_read_counts_no_more() -> None:
    tally = counted(9, *answers())
    assert tally.count == 200
    with pytest.raises(RuntimeError, match="counts no more"):
        tally.add(*answers())


TWO = """
import json, sys, torch, torch.distributed as dist
from swav_cli.evaluate.accuracy import Tally
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=sys.argv[2], rank=rank, world_size=2)
logits, labels = torch.load(sys.argv[3])
share = slice(0, 130) if rank == 0 else slice(130, 200)
for first in ("top5", "unread", "confusion", "summary"):
    tally = Tally(9)
    tally.add(logits[share], labels[share])
    found = getattr(tally, first)
    found = found() if callable(found) else found.tolist() if torch.is_tensor(found) else found
    print(json.dumps([found, tally.summary()]), flush=True)
known = Tally(9)
known.add(logits, labels)
known.summed_already()
print(json.dumps(known.summary()), flush=True)
dist.destroy_process_group()
"""


def test_two_processes_read_the_sum_whatever_is_read_first(tmp_path: Path) -> None:
    logits, labels = answers()
    logits[5] = logits[150] = torch.nan
    torch.save((logits, labels), tmp_path / "answers.pt")
    arguments = [f"file://{tmp_path}/meeting", str(tmp_path / "answers.pt")]
    processes = [start(TWO, rank, *arguments, module="-c", cwd=tmp_path) for rank in range(2)]
    alone = counted(9, logits, labels)
    expected = alone.summary()
    firsts = [alone.top5, 2, alone.confusion.tolist(), expected]
    for process in processes:
        said, failed = process.communicate(timeout=100)
        assert process.returncode == 0, failed
        assert [json.loads(line) for line in said.splitlines()] == [*([first, expected] for first in firsts), expected]

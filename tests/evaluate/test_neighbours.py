"""k-NN by several processes is that of one, and a picture that stands on both sides is never its own neighbour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from swav_cli.core.model import SwAV
from swav_cli.core.weights import Model
from swav_cli.data.pictures import Limited, Pictures
from swav_cli.data.sources import ShapePictures
from swav_cli.errors import UserError
from swav_cli.evaluate import representation
from swav_cli.evaluate.inference import Inference
from swav_cli.evaluate.neighbours import Labelled, neighbours
from swav_cli.evaluate.representation import Representation, check_features, gathered, represent
from swav_cli.parallel import distributed
from tests.commands.test_extract import ABOUT
from tests.evaluate.forked import by_processes
from tests.evaluate.test_knn import accuracies, data

CPU = torch.device("cpu")
KS, TEMPERATURES = (1, 20, 200), (0.07, 1.0)


@pytest.mark.parametrize("bank_ends", [[30, 55, 90], [0, 88, 90]])
def test_processes_that_divide_bank_and_queries_find_what_one_does(tmp_path: Path, bank_ends: list[int]) -> None:
    """Shares of any size, and one without a row; the queries stand in the bank in part."""
    bank, bank_labels, queries, query_labels = data()
    queries, query_labels = torch.cat([queries, bank[50:70]]), torch.cat([query_labels, bank_labels[50:70]])
    own = torch.cat([torch.full((41,), -1), torch.arange(50, 70)])
    alone = accuracies(bank, bank_labels, queries, query_labels, KS, TEMPERATURES, own=own)

    for found, done in by_processes(3, tmp_path, shares_judged, bank_ends, queries, query_labels, own):
        assert found == alone
        assert done == [(25, 61), (50, 61), (61, 61)]


def shares_judged(rank: int, bank_ends: list[int], queries: Tensor, query_labels: Tensor, own: Tensor) -> Any:
    bank, bank_labels, _, _ = data()
    part, asked = (slice(([0, *ends])[rank], ends[rank]) for ends in (bank_ends, [61, 61, 61]))
    done: list[tuple[int, int]] = []
    found = accuracies(
        bank[part], bank_labels[part], queries[asked], query_labels[asked], KS, TEMPERATURES, own=own[asked],
        chunks=(7, 25), progress=lambda *told: done.append(told),
    )  # fmt: skip
    return found, done


def test_no_process_holds_more_than_its_share_and_the_first_may_gather(tmp_path: Path) -> None:
    pictures = ShapePictures(7, 0, "val")
    torch.manual_seed(0)
    model = ABOUT.build()
    alone = represent(Model(model, ABOUT), pictures, Inference())
    found = by_processes(3, tmp_path, own_and_gathered, model, pictures)
    assert [part.rows.tolist() for part, _ in found] == [[0, 1, 2], [3, 4], [5, 6]]
    for name in ("rows", "pooled", "embedding", "nearest"):
        torch.testing.assert_close(getattr(found[0][1], name), getattr(alone, name), rtol=1e-4, atol=1e-5)
        assert torch.equal(getattr(found[1][1], name), getattr(found[1][0], name))


def own_and_gathered(rank: int, model: SwAV, pictures: Pictures) -> tuple[Representation, Representation]:
    part = represent(Model(model, ABOUT), pictures, Inference())
    return part, gathered(part)


def test_processes_wait_for_each_other_now_and_then_and_equally_often(tmp_path: Path) -> None:
    assert by_processes(2, tmp_path, meetings) == [[0, 2], [0, 2]]


def meetings(rank: int) -> list[int]:
    """After which batches processes of 5 pictures and of 4 wait for each other: of 3 batches and 2."""
    representation.TOGETHER = 2
    together, met = distributed.largest_of_all, []
    setattr(distributed, "largest_of_all", lambda number: met.append(number) or together(number))  # noqa: B010
    represent(Model(ABOUT.build(), ABOUT), ShapePictures(9, 0, "val"), Inference(batch_size=2))
    return met


def test_many_rows_are_kept_in_half_precision_and_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(representation, "HALF_FROM", 0)
    model = ABOUT.build()
    monkeypatch.setattr(model, "features", lambda x: torch.full((len(x), model.feature_dim), 1e9))
    found = represent(Model(model, ABOUT), ShapePictures(3, 0, "val"), Inference())
    assert found.pooled.dtype == torch.float16
    assert found.pooled.isfinite().all()
    assert found.embedding.dtype == torch.float32


def judged(labelled: Labelled, pooled: Tensor, device: torch.device = CPU) -> float:
    count = len(labelled.taught_by)
    bank = Representation(torch.arange(count), pooled[:count], pooled[:count, :0], torch.full((count,), -1), 0, 0)
    asked = bank._replace(rows=torch.arange(len(labelled.queries)), pooled=pooled[: len(labelled.queries)])
    return neighbours(labelled, bank, asked, [1], [0.07], device)[0].top1


def test_drawn_pictures_of_another_part_or_seed_are_no_neighbours_to_leave_out() -> None:
    """All features are one a picture, so that a query's own row is the only one of its class that is near."""
    labels = torch.arange(10)
    rows = torch.eye(10)
    train, val, other = ShapePictures(10, 0, "train"), ShapePictures(10, 0, "val"), ShapePictures(10, 1, "val")
    assert judged(Labelled(val, labels, train, labels), rows) == 100
    assert judged(Labelled(val, labels, other, labels), rows) == 100
    assert judged(Labelled(val, labels, ShapePictures(10, 0, "val"), labels), rows) == 0
    some = Limited(ShapePictures(30, 0, "val"), 20, seed=0)
    assert Labelled(val, labels, some, labels).places.tolist() == [
        list(some.chosen).index(number) if number in some.chosen else -1 for number in range(10)
    ]


def test_pictures_without_features_are_told_and_none_at_all_is_an_error() -> None:
    pictures = ShapePictures(4, 0, "val")
    model = ABOUT.build()
    broken = ABOUT.build()
    torch.nn.init.constant_(broken.conv1.weight, float("nan"))
    said: list[str] = []
    fine = represent(Model(model, ABOUT), pictures, Inference())
    check_features(fine, pictures, "it", said.append)
    assert said == []
    check_features(fine._replace(not_finite=1), pictures, "it", said.append)
    assert "features of 1 picture of shapes:4:0 are not finite" in said[0]
    with pytest.raises(UserError, match="its features of shapes:4:0 are not finite"):
        check_features(represent(Model(broken, ABOUT), pictures, Inference()), pictures, "it", said.append)
    with pytest.raises(UserError, match="none of its 4 pictures can be read"):
        check_features(fine._replace(unread=4), pictures, "it", said.append)
    labels = torch.arange(4)
    empty = Representation(fine.rows[:0], fine.pooled[:0], fine.embedding[:0], fine.nearest[:0], 4, 0)
    with pytest.raises(UserError, match="shapes:4:0: too few of its pictures can be read"):
        neighbours(Labelled(pictures, labels, None, labels), empty, empty, [1], [0.07], CPU)

"""How a network is run where nobody says it."""

from __future__ import annotations

import pytest
import torch

from swav_cli.data.reading import loader
from swav_cli.data.reading.cache import CachedPictures
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError
from swav_cli.evaluate.inference import Inference

CUDA = torch.device("cuda")


def test_a_batch_has_alike_many_pixels_whatever_the_size() -> None:
    assert [Inference().batch(size) for size in (32, 224, 448, 5000)] == [1024, 32, 8, 1]
    assert Inference(CUDA).batch(224) == 256
    assert Inference(batch_size=3).batch(224) == 3


def test_few_pictures_need_no_workers_and_large_ones_on_a_processor_none_either() -> None:
    assert Inference().readers(open_pictures("shapes:10"), 32) == 0
    assert Inference().readers(open_pictures("shapes:10000"), 32) > 0
    assert Inference().readers(open_pictures("shapes:10000"), 224) == 0
    assert Inference(workers=7).readers(open_pictures("shapes:10"), 224) == 7


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"device": "gpu"}, "--device gpu"), ({"precision": "f16"}, "--precision f16"),
        ({"batch_size": 0}, "--batch-size 0: at least 1"), ({"workers": -1}, "--workers -1"),
    ],
)  # fmt: skip
def test_options_that_mean_nothing(options: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        Inference.wanted(**options)  # type: ignore[arg-type]


def test_options_that_are_left_out() -> None:
    assert Inference.wanted("cpu", "float32") == Inference()


def test_no_more_processes_read_than_pictures_make_worthwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "spare_processors", lambda device: 15)
    few = open_pictures("shapes:200")
    assert loader.pick_workers("auto", few, CUDA) == 15  # for training, which reads them again and again
    assert loader.pick_readers("auto", few, CUDA) == 3
    assert loader.pick_readers("auto", CachedPictures(few, 1), CUDA) == 0
    assert loader.pick_readers(7, few, CUDA) == 7
    assert Inference(CUDA).readers(few, 224) == 3

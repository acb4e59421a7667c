"""What holds on a device that is no processor and no CUDA GPU: Apple's, which the tests have to do without.

The meta device stands in for it: it is told from the processor, takes every operation, and its values are made up here
where a step reads some. Like Apple's, it is refused float64.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import swav_cli
from swav_cli.core import apple, device
from swav_cli.core.classifier import ClassifierTrainer
from swav_cli.core.device import pick_device
from swav_cli.core.health import effective_rank
from swav_cli.core.multicrop import MultiCrop
from swav_cli.core.swav import Trainer
from swav_cli.core.weights import Model
from swav_cli.data.reading.loader import Crops
from swav_cli.data.sources import ShapePictures
from swav_cli.errors import UserError
from swav_cli.evaluate.features import stream_features
from swav_cli.evaluate.geometry import alignment, rankme, uniformity
from swav_cli.evaluate.inference import Inference
from swav_cli.planning.derive import derive
from swav_cli.recipe.classifier_schema import FinetuneRecipe, LinearRecipe
from swav_cli.recipe.sections import AugmentRecipe, CropRecipe
from tests.commands.test_extract import ABOUT
from tests.conftest import classifier_recipe, tiny_recipe

APPLE = torch.device("meta")
aten = torch.ops.aten


class WithoutFloat64(TorchDispatchMode):
    """The meta device without float64, and with copies from memory that do not outlive the call."""

    def __torch_dispatch__(
        self, op: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if op is aten._local_scalar_dense.default and args[0].device == APPLE:
            return 1.0 if args[0].is_floating_point() else 1
        if op is aten.bincount.default and args[0].device == APPLE:
            return torch.empty(kwargs.get("minlength", args[2] if len(args) > 2 else 0), dtype=torch.long, device=APPLE)
        if op is aten._to_copy.default:
            assert not (kwargs.get("non_blocking") and kwargs.get("device") == APPLE), "copied without waiting"
            if args[0].device == APPLE and kwargs.get("device") == torch.device("cpu"):
                return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        found = op(*args, **kwargs)
        for tensor in found if isinstance(found, (tuple, list)) else [found]:
            if isinstance(tensor, Tensor) and tensor.device == APPLE and tensor.dtype == torch.float64:
                raise TypeError(f"the device has no float64 ({op})")
        return found


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_and_an_epochs_health_need_no_float64(accumulate: int) -> None:
    pictures = ShapePictures(48, 0, "train")
    recipe = tiny_recipe(
        "optimizer.name=lars", f"training.accumulate={accumulate}", "augment.blur=1", "augment.jitter=1"
    )
    with WithoutFloat64():
        trainer = Trainer(recipe, pictures, APPLE)
        trainer.model.train()
        parts = [Crops(pictures, trainer.multicrop).__getitems__([(0, i) for i in range(8 // accumulate)])] * accumulate
        trainer.train_step(parts)
        trainer.course.step = trainer.plan.queue_from
        for _ in range(6):  # in which the queue fills, and is used
            trainer.train_step(parts)
        assert trainer.health(1.0) is not None


@pytest.mark.parametrize("schema", [LinearRecipe, FinetuneRecipe])
def test_a_classifiers_step_needs_no_float64(schema: Any) -> None:
    pictures = ShapePictures(40, 0, "train")
    recipe = classifier_recipe(schema)
    with WithoutFloat64():
        trainer = ClassifierTrainer(recipe, Model(ABOUT.build(), ABOUT), pictures, "", APPLE)
        trainer.model.train()
        augment = AugmentRecipe(jitter=0, grayscale=0, blur=0)
        crops = MultiCrop([CropRecipe(count=1, size=16, scale=(0.5, 1.0))], augment, 0)
        trainer.train_step([Crops(pictures, crops).__getitems__([(0, index) for index in range(8)])])
    assert trainer.course.step == 1


def test_features_and_their_numbers_need_no_float64() -> None:
    pictures = ShapePictures(4, 0, "val")
    with WithoutFloat64():
        (part,) = stream_features(torch.nn.Flatten(), pictures, ABOUT, Inference(APPLE))
        assert part.values.shape == (4, 3 * 16 * 16)
        rows = torch.empty(6, 4, device=APPLE)
        for number in (effective_rank(rows), rankme(rows), uniformity(rows), alignment(rows, rows)):
            assert isinstance(number, float)


def test_that_it_refuses_float64_and_copies_that_do_not_wait() -> None:
    with WithoutFloat64():
        with pytest.raises(TypeError, match="no float64"):
            torch.ones(2, device=APPLE).double()
        with pytest.raises(AssertionError, match="without waiting"):
            torch.ones(2).to(APPLE, non_blocking=True)


def test_copies_without_waiting_are_asked_for_in_one_place() -> None:
    code = Path(swav_cli.__file__).parent
    asking = [path for path in code.rglob("*.py") if re.search(r"non_blocking=", path.read_text())]
    assert asking == [code / "core" / "transfer.py"]


def test_a_recipe_of_float64_is_refused_there() -> None:
    with pytest.raises(UserError, match=r"float64: Apple's GPUs have none; use --device cpu"):
        derive(tiny_recipe("training.precision=float64"), ShapePictures(48, 0, "train"), torch.device("mps"))


def test_the_processor_agrees_with_itself_and_a_device_that_fails_is_told() -> None:
    assert apple.difference_from_cpu(torch.device("cpu")) is None
    assert "a small step of training fails there (" in str(apple.difference_from_cpu(APPLE))


@pytest.mark.parametrize("what", ["colours", "embeddings", "codes", "losses", "gradients"])
def test_wrong_numbers_are_told(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    right, other = apple._small_step, torch.device("cpu", 0)

    def wrong(device: torch.device) -> Any:
        for name, values in right(device):
            yield name, (values * 1.2 if device == other and name == what else values)

    monkeypatch.setattr(apple, "_small_step", wrong)
    assert apple.difference_from_cpu(other) == f"{what} differ from the processor's by 20 %"


def test_a_grey_level_that_rounding_turned_over_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    right, other = apple._small_step, torch.device("cpu", 0)

    def rounded(device: torch.device) -> Any:
        for name, values in right(device):
            if device == other and name == "colours":
                values = values.clone()
                values.view(-1)[::500] += 6 / 255 / 0.25
            yield name, values

    monkeypatch.setattr(apple, "_small_step", rounded)
    assert apple.difference_from_cpu(other) is None


@pytest.fixture
def with_apple(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    def there(difference: str | None) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        monkeypatch.setattr(apple, "difference_from_cpu", lambda device: difference)
        device._apple_is_right.cache_clear()

    return there


def test_auto_takes_it_where_it_is_right(
    with_apple: Callable[[str | None], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with_apple(None)
    assert pick_device("auto").type == "mps"
    with_apple("codes differ")
    assert [pick_device(name).type for name in ("auto", "auto", "mps")] == ["cpu", "cpu", "mps"]
    said = capsys.readouterr().err
    assert said == "Apple's GPU is left alone: codes differ. --device mps takes it all the same\n"
    device._apple_is_right.cache_clear()

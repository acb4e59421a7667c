"""Tensors are found in whatever lies around them, and in files that hold themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from swav_cli import UserError
from swav_cli.zoo.foreign.assemble import read_network
from swav_cli.zoo.foreign.layouts import by_our_names
from swav_cli.zoo.foreign.wrappers import held_in, tensors_in
from tests.zoo.foreign.test_layouts import pictures, renamed, small

Weights = dict[str, Tensor]


def backbone(**more: Any) -> Weights:
    return dict(small(hidden_dim=0, embedding_dim=0, prototypes=0, **more).state_dict())


def itself(key: str) -> dict[str, Any]:
    content: dict[str, Any] = {"conv1.weight": torch.ones(2)}
    content[key] = content
    return content


def ring() -> dict[str, Any]:
    first: dict[str, Any] = {}
    second = {"model": first, "conv1.weight": torch.ones(2)}
    first["state_dict"] = second
    return first


@pytest.mark.parametrize(
    "content", [itself("state_dict"), itself("trunk"), ring(), {"trunk": itself("model"), "heads": itself("heads")}]
)
def test_a_file_that_holds_itself_comes_to_an_end(content: Any) -> None:
    assert [tensor.shape for tensor in tensors_in(content).values()] in ([(2,)], [(2,), (2,)])


def test_a_file_of_many_that_hold_each_other_comes_to_an_end() -> None:
    boxes: list[dict[str, Any]] = [{} for _ in range(12)]
    for box in boxes:
        box.update({str(number): other for number, other in enumerate(boxes)})
    assert tensors_in(boxes[0]) == {}
    deep: dict[str, Any] = {"conv1.weight": torch.ones(2)}
    for _ in range(5000):
        deep = {"state_dict": deep}
    assert tensors_in(deep) == {}


def with_averages(key: str) -> Callable[[Weights, Weights], Any]:
    averaged = {"model_ema": lambda w: {"n_averaged": torch.tensor(3), **renamed(w, other="module.")}}.get(key, dict)
    return lambda last, mean: {"state_dict": last, key: averaged(mean), "epoch": 3}


@pytest.mark.parametrize("key", ["state_dict_ema", "model_ema", "ema"])
def test_averaged_weights_are_taken_and_told(key: str) -> None:
    last = backbone()
    mean = {name: 2 * tensor for name, tensor in last.items()}
    found = read_network(with_averages(key)(last, mean), "file")
    assert torch.equal(found.build().conv1.weight, mean["conv1.weight"])
    assert f"averaged weights taken ('{key}')" in found.loaded
    found = read_network({"state_dict": last, key: None}, "file")  # as timm writes it where there are none
    assert torch.equal(found.build().conv1.weight, last["conv1.weight"])
    assert "averaged" not in found.loaded


def test_mmengine_keeps_its_averages_as_the_state_dict() -> None:
    """What lies in `ema_state_dict` there are the last weights: the two change places before they are saved."""
    mean = renamed(backbone(), other="backbone.")
    last = {name: 2 * tensor for name, tensor in mean.items()}
    found = read_network({"meta": {}, "state_dict": mean, "ema_state_dict": last}, "file")
    assert torch.equal(found.build().conv1.weight, mean["backbone.conv1.weight"])


def row(weights: Weights, before: str = "", first: int = 4) -> Weights:
    layers = {f"layer{number + 1}": f"{before}{first + number}" for number in range(4)}
    return renamed(weights, conv1=f"{before}0", bn1=f"{before}1", **layers)


def teacher_and_student(weights: Weights) -> Any:
    student = {name: 2 * tensor for name, tensor in weights.items()}
    return {
        "state_dict": {
            **renamed(student, other="student_embedding_model.wrapped_model._features."),
            **renamed(weights, other="teacher_embedding_model.wrapped_model._features."),
            "teacher_projection_head.layers.0.weight": torch.ones(2),
        }
    }


SOMEWHERE: dict[str, tuple[str, str, Callable[[Weights], Any]]] = {
    "a row of layers": ("a ResNet as a numbered row of layers", "", row),
    "a row without pooling": ("a ResNet as a numbered row of layers", "", lambda w: row(w, first=3)),
    "a row under a name": ("a ResNet as a numbered row of layers", "", lambda w: {"resnet18_parameters": row(w)}),
    "lightly-train's export": (
        "a ResNet below 'wrapped_model._features'", "", lambda w: renamed(w, other="wrapped_model._features."),
    ),
    "lightly-train's checkpoint": (
        "a ResNet below 'teacher_embedding_model.wrapped_model._features'", "and not 'student_embedding",
        teacher_and_student,
    ),
    "DINO": (
        "torchvision or timm", "the teacher's weights",
        lambda w: {"student": w, "teacher": renamed(w, other="module.")},
    ),
    "a module of one's own": (
        "a ResNet below 'net'", "", lambda w: {"state_dict": renamed(w, other="net."), "optimizer": {}},
    ),
    "MoCo": (
        "a ResNet below 'encoder_q'", "and not 'encoder_k'",
        lambda w: {
            "arch": "resnet18",
            "state_dict": {
                **renamed(w, other="module.encoder_q."), "module.encoder_q.fc.weight": torch.ones(4, 64),
                **renamed({k: 2 * v for k, v in w.items()}, other="module.encoder_k."), "module.queue": torch.ones(3),
            },
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SOMEWHERE)
def test_a_backbone_is_found_where_it_lies(case: str) -> None:
    layout, told, write = SOMEWHERE[case]
    model = small(hidden_dim=0, embedding_dim=0, prototypes=0)
    found = read_network(write(dict(model.state_dict())), "file")
    assert found.layout == layout
    assert told in found.loaded
    assert not found.about.classes
    with torch.no_grad():
        assert torch.equal(found.build().features(pictures()), model.features(pictures()))


def test_a_classifier_of_ones_own_module_comes_along() -> None:
    model = small(classes=7, hidden_dim=0, embedding_dim=0, prototypes=0)
    found = read_network(renamed(dict(model.state_dict()), other="net."), "file")
    assert len(found.about.classes) == 7


def test_two_networks_of_which_none_is_meant_are_named() -> None:
    content = {**renamed(backbone(), other="left."), **renamed(backbone(), other="right.")}
    with pytest.raises(UserError, match="holds 2 networks, below 'left', 'right'; save the one"):
        by_our_names(content, "file")


def test_what_stands_beside_the_weights_is_no_network() -> None:
    content = {"net": backbone(), "optimizer_g": {"state": {"a": torch.ones(1)}}, "loss_fn": {"weight": torch.ones(2)}}
    assert held_in(content).tensors.keys() == backbone().keys()

"""Foreign checkpoints in: every layout gives the same network, and half of one is an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor

from swav_cli import SwAV, UserError
from swav_cli.core.weights import About
from swav_cli.recipe.architectures import ARCHITECTURES
from swav_cli.zoo.foreign.assemble import read_network
from swav_cli.zoo.foreign.pickles import read_foreign
from tests.conftest import REFERENCE, formula_weights

LAYOUTS = REFERENCE / "layouts"
Weights = dict[str, Tensor]


def small(classes: int = 0, **more: Any) -> SwAV:
    settings = {"width": 8, "hidden_dim": 16, "embedding_dim": 8, "prototypes": 12, **more}
    model = SwAV("resnet18", classes=classes, **settings)
    formula_weights(model)
    return model.eval()


def renamed(weights: Weights, **words: str) -> Weights:
    """Weights with the first word of each key replaced; a word that is not named gets that of `other`."""
    out = {}
    for key, tensor in weights.items():
        first, _, rest = key.partition(".")
        out[f"{words[first]}.{rest}" if first in words else words.get("other", "") + key] = tensor
    return out


def pictures() -> Tensor:
    return torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))


def test_the_files_of_four_tools_are_one_network() -> None:
    answers = []
    for path in sorted(LAYOUTS.iterdir()):
        found = read_network(read_foreign(path), path.name)
        assert "120 of 120 backbone tensors, projection head 9 of 9, prototypes 30 x 16" in found.loaded
        about = found.about
        assert (about.backbone, about.width, about.stem, about.hidden_dim) == ("resnet18", 8, "imagenet", 32)
        with torch.no_grad():
            answers.append((found.build().features(pictures()), found.build().scores(pictures())))
    assert len(answers) == 4
    for features, scores in answers[1:]:
        assert torch.equal(features, answers[0][0])
        assert torch.equal(scores, answers[0][1])


def mm(prototypes: str, again: str) -> Callable[[Weights], Any]:
    def write(weights: Weights) -> Any:
        named = renamed(weights, other="backbone.", projection_head="neck.projection_neck", prototypes=prototypes)
        named |= {
            f"neck.{again}.{key.rpartition('.')[2]}": t for key, t in named.items() if "projection_neck.1." in key
        }
        return {"meta": {"CLASSES": ["a"]}, "state_dict": named}

    return write


def lightly(weights: Weights) -> Any:
    """Its heads have no bias before a normalisation; the backbone is a numbered row of layers."""
    named = renamed(
        weights, conv1="backbone.0", bn1="backbone.1", layer1="backbone.4", layer2="backbone.5", layer3="backbone.6",
        layer4="backbone.7", projection_head="projection_head.layers", prototypes="prototypes.heads.0",
    )  # fmt: skip
    return {"state_dict": {**named, "online_classifier.weight": torch.ones(3)}, "hyper_parameters": {}}


def solo(weights: Weights) -> Any:
    named = renamed(weights, other="backbone.", projection_head="projector", prototypes="prototypes")
    vectors = named.pop("prototypes.weight")
    length = vectors.norm(dim=1, keepdim=True)
    extra = {"prototypes.weight_g": length, "prototypes.weight_v": 3 * vectors, "queue": torch.zeros(2, 4, 8)}
    return {"state_dict": {**named, **extra}}


def vissl(weights: Weights) -> Any:
    heads = {key: value for key, value in weights.items() if key.startswith(("projection_head.", "prototypes."))}
    trunk = {f"_feature_blocks.{key}": value for key, value in weights.items() if key not in heads}
    heads = renamed(heads, projection_head="0.projection_head", prototypes="0.prototypes0")
    return {"classy_state_dict": {"base_model": {"model": {"trunk": trunk, "heads": heads}, "meta": {}}}}


WRITERS: dict[str, tuple[str, Callable[[Weights], Any]]] = {
    "training": ("published swav", lambda w: {"state_dict": renamed(w, other="module."), "epoch": 3, "amp": {"a": {}}}),
    "released": ("published swav", lambda w: renamed(w, other="module.")),
    "bare": ("published swav", lambda w: w),
    "compiled": ("published swav", lambda w: {"model": renamed(w, other="_orig_mod.module.")}),
    "mmpretrain": ("mmpretrain 1.x", mm("head.loss_module.prototypes", "norm")),
    "mmselfsup 1": ("mmselfsup 1.x", mm("head.loss.prototypes", "bn")),
    "mmselfsup 0": ("mmselfsup 0.x", mm("head.prototypes", "bn")),
    "lightly": ("lightly", lightly),
    "solo-learn": ("solo-learn", solo),
    "vissl": ("VISSL", vissl),
    "vissl under one name": ("VISSL", lambda w: vissl(w)["classy_state_dict"]["base_model"]),
    "by the name backbone": (
        "a backbone by that name",
        lambda w: {"state_dict": renamed(w, other="model.backbone.", projection_head="x", prototypes="y")},
    ),
}


@pytest.mark.parametrize("case", WRITERS)
def test_a_layout_gives_the_features_and_scores_of_the_network(case: str) -> None:
    name, write = WRITERS[case]
    model = small()
    with torch.no_grad():
        model.projection_head[0].bias.zero_()  # type: ignore[index, union-attr]
    weights = dict(model.state_dict())
    if case == "lightly":
        del weights["projection_head.0.bias"]
    found = read_network(write(weights), "file")
    assert found.layout == name
    assert "120 of 120 backbone tensors" in found.loaded
    read = found.build()
    with torch.no_grad():
        assert torch.equal(read.features(pictures()), model.features(pictures()))
        if "backbone" not in case:
            assert "projection head 9 of 9, prototypes 12 x 8" in found.loaded
            torch.testing.assert_close(read.scores(pictures()), model.scores(pictures()))
    if case in ("lightly", "solo-learn"):
        assert "left aside 1 other tensors" in found.loaded


def test_the_row_of_lightlys_own_resnet() -> None:
    model = small(hidden_dim=0, embedding_dim=0, prototypes=0, stem="small")
    row = renamed(
        dict(model.state_dict()), conv1="backbone.0", bn1="backbone.1", layer1="backbone.2", layer2="backbone.3",
        layer3="backbone.4", layer4="backbone.5",
    )  # fmt: skip
    found = read_network({key.replace("downsample", "shortcut"): tensor for key, tensor in row.items()}, "file")
    assert (found.about.stem, found.about.size) == ("small", 32)
    with torch.no_grad():
        assert torch.equal(found.build().features(pictures()), model.features(pictures()))


@pytest.mark.parametrize("heads", [1, 3])
def test_of_several_sets_of_prototypes_the_first_is_taken_and_told(heads: int) -> None:
    """As DeepCluster-v2 and SeLa-v2 are published, and lightly's models with several numbers of prototypes."""
    weights = dict(small().state_dict())
    first = weights.pop("prototypes.weight")
    sets = {
        f"prototypes{number}.weight": first if number == 0 else torch.ones(5, 8) for number in reversed(range(heads))
    }
    published = renamed({**weights, **{f"prototypes.{key}": value for key, value in sets.items()}}, other="module.")
    lightlys = lightly(weights)
    named = {f"prototypes.heads.{key.removeprefix('prototypes')}": value for key, value in sets.items()}
    lightlys["state_dict"] |= named
    for content, layout in (({"state_dict": published}, "DeepCluster-v2 or SeLa-v2"), (lightlys, "lightly")):
        found = read_network(content, "file")
        assert found.layout == layout
        assert torch.equal(found.build().prototypes.weight, first)
        assert ("the first of 3 sets of prototypes taken" in found.loaded) == (heads == 3)


def test_prototypes_keep_their_bias_and_score_with_it() -> None:
    model, bias = small(), torch.arange(12.0)
    found = read_network({**model.state_dict(), "prototypes.bias": bias}, "file")
    assert found.about.prototypes_bias
    assert "prototypes 12 x 8 with a bias" in found.loaded
    assert About.from_json(found.about.to_json()) == found.about
    with torch.no_grad():
        scores = found.build().scores(pictures())
        torch.testing.assert_close(scores, model.scores(pictures()) + bias)
        assert torch.equal(found.build().similarity(model.embed(pictures())), scores)
    without_bias = read_network({**model.state_dict(), "prototypes.bias": torch.zeros(12)}, "file").about
    assert not without_bias.prototypes_bias
    assert "prototypes_bias" not in without_bias.to_json()


def untrained(*shape: int) -> Weights:
    bound = shape[1] ** -0.5
    return {
        "fc.weight": torch.empty(shape).uniform_(-bound, bound),
        "fc.bias": torch.empty(shape[0]).uniform_(-bound, bound),
    }


CLASSIFIERS: dict[str, tuple[bool, Callable[[int, int], Weights]]] = {
    "as torch draws it": (False, untrained),
    "of no bias": (False, lambda *shape: {"fc.weight": untrained(*shape)["fc.weight"]}),
    "as torch draws it, in half precision": (False, lambda *shape: {k: v.half() for k, v in untrained(*shape).items()}),
    "as torch draws it, in bfloat16": (False, lambda *shape: {k: v.bfloat16() for k, v in untrained(*shape).items()}),
    "zeros": (False, lambda *shape: {"fc.weight": torch.zeros(shape), "fc.bias": torch.zeros(shape[0])}),
    "one step on": (True, lambda *shape: {k: v + 0.01 * torch.randn_like(v) for k, v in untrained(*shape).items()}),
    "all within the bound, but normal": (
        True,
        lambda *shape: {k: (v / 4).clamp(-0.04, 0.04) for k, v in {"fc.weight": torch.randn(shape) * 0.05}.items()},
    ),
    "decayed": (True, lambda *shape: {k: 0.9 * v for k, v in untrained(*shape).items()}),
    "a trained bias": (True, lambda *shape: {**untrained(*shape), "fc.bias": torch.full((shape[0],), 0.3)}),
    "trained from zeros": (
        True,
        lambda *shape: {"fc.weight": 1e-3 * torch.randn(shape), "fc.bias": torch.zeros(shape[0])},
    ),
}


@pytest.mark.parametrize("classes", [20, 1000])
@pytest.mark.parametrize("case", CLASSIFIERS)
def test_a_classifier_counts_where_it_was_trained(case: str, classes: int) -> None:
    torch.manual_seed(0)
    counts, make = CLASSIFIERS[case]
    found = read_network({**small().state_dict(), **make(classes, 64)}, "file")
    assert len(found.about.classes) == (classes if counts else 0)
    assert (f"classifier of {classes} classes left aside" in found.loaded) == (not counts)
    assert found.about.prototypes == 12


@pytest.mark.parametrize("names", [("cat", "dog", "owl"), ()])
@pytest.mark.parametrize("place", ["dataset_meta", "old"])
def test_a_classifier_of_mmpretrain_brings_its_classes(names: tuple[str, ...], place: str) -> None:
    model = small(classes=3, embedding_dim=0, prototypes=0)
    named = renamed(dict(model.state_dict()), other="backbone.", fc="head.fc")
    meta = {"dataset_meta": {"classes": names}} if place == "dataset_meta" else {"CLASSES": list(names)}
    found = read_network({"meta": meta, "state_dict": named}, "file")
    assert found.layout == "mmpretrain classifier"
    assert found.about.classes == (names or ("0", "1", "2"))
    assert "classifier of 3 classes" in found.loaded
    with torch.no_grad():
        torch.testing.assert_close(found.build().logits(pictures()), model.logits(pictures()))


def test_torchvisions_weights_have_imagenets_names() -> None:
    theirs = torchvision.models.resnet18().eval()
    torch.nn.init.normal_(theirs.fc.weight)  # one that was trained
    found = read_network(theirs.state_dict(), "file")
    assert found.layout == "torchvision or timm"
    assert (len(found.about.classes), found.about.classes[0], found.about.classes[999]) == (
        1000,
        "tench",
        "toilet tissue",
    )
    with torch.no_grad():
        torch.testing.assert_close(found.build().logits(pictures()), theirs(pictures()))


def test_weights_without_counters_of_batches_load() -> None:
    """As torch wrote them before version 0.4.1."""
    weights = {k: v for k, v in torchvision.models.resnet18().state_dict().items() if "num_batches" not in k}
    found = read_network(weights, "file")
    assert "100 of 100 backbone tensors" in found.loaded
    found.build()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architecture_and_width_follow_from_shapes(name: str) -> None:
    with torch.device("meta"):
        weights = SwAV(name, hidden_dim=8, embedding_dim=4, prototypes=5, channels=1).state_dict()
    about = read_network(weights, "file").about
    assert (about.backbone, about.width, about.channels, about.prototypes) == (name, 64, 1, 5)
    assert len(about.mean) == len(about.std) == 1


def test_an_unpublished_width_is_told_by_its_stem() -> None:
    with torch.device("meta"):
        weights = SwAV("resnet50", width=96, hidden_dim=0, embedding_dim=0, prototypes=0).state_dict()
    assert read_network(weights, "file").about.width == 96


def without(weights: Weights, *keys: str) -> Weights:
    return {key: tensor for key, tensor in weights.items() if not key.startswith(keys)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda w: without(w, "layer4.1.bn2.weight"), "119 of 120 tensors of the backbone match; layer4.1.bn2.weight"),
        (lambda w: {**w, "layer1.0.se.weight": torch.ones(2)}, "layer1.0.se.weight has no place"),
        (lambda w: {**w, "layer1.0.conv1.weight": torch.ones(8, 4, 3, 3)}, r"is \(8, 4, 3, 3\) and should be"),
        (lambda w: without(w, "projection_head.3.bias"), "8 of 9 tensors of the projection head match"),
        (lambda w: without(w, "projection_head.3"), "a part of a projection head"),
        (lambda w: {**w, "projection_head.6.weight": torch.ones(2)}, "projection_head.6.weight has no place"),
        (lambda w: without(w, "layer4"), "no ResNet; its first keys: conv1.weight"),
        (lambda w: without(w, "layer1.1"), r"a ResNet of \(1, 2, 2, 2\) basic blocks"),
        (lambda w: {**w, "conv1.weight": torch.ones(8, 3, 5, 5)}, "a stem of kernel"),
        (
            lambda w: {"encoder.patch.weight": torch.ones(2)},
            "in no layout that swav knows: no ResNet, .*; its first keys: encoder",
        ),
        (lambda w: {"epoch": 3}, "holds no tensors by name"),
        (lambda w: [1, 2], "holds no tensors by name"),
        (lambda w: {"state_dict": {"module.linear.weight": torch.ones(2, 3)}}, "a linear layer alone"),
    ],
)
def test_nothing_or_a_part_only_is_an_error_that_names_keys(change: Callable[[Weights], Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        read_network(change(dict(small().state_dict())), "file")


def test_half_precision_becomes_single(tmp_path: Path) -> None:
    weights = {k: v.half() if v.is_floating_point() else v for k, v in small().state_dict().items()}
    assert read_network(weights, "file").build().conv1.weight.dtype == torch.float32

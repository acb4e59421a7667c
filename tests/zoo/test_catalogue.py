"""What is said of the published weights, counted where it can be."""

from __future__ import annotations

import re

import pytest

from swav_cli import UserError
from swav_cli.core.weights import About
from swav_cli.zoo.catalogue import DEFAULT, Entry, all_names, entries, entry_named, find, list_models
from swav_cli.zoo.cost import flops, parameters

EVERY = pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)


def described(entry: Entry) -> About:
    return About(
        entry.architecture,
        hidden_dim=entry.hidden_dim or 0,
        embedding_dim=128 if entry.hidden_dim else 0,
        prototypes=entry.prototypes or 0,
        classes=("",) * entry.classes,
    )


@EVERY
def test_parameters_and_flops_are_as_counted(entry: Entry) -> None:
    assert (parameters(described(entry)), flops(described(entry))) == (entry.parameters, entry.flops)


def test_the_published_numbers_of_mmpretrain() -> None:
    pretrained = find("swav_resnet50_8xb32-mcrop-coslr-200e_in1k-224px-96px")
    classifier = find("resnet50_swav-pre_8xb32-linear-coslr-100e_in1k")
    assert (pretrained.parameters, pretrained.flops) == (28_354_752, 4_109_364_224)
    assert (classifier.parameters, classifier.flops) == (25_557_032, 4_109_464_576)
    assert pretrained.file.endswith(f"-{pretrained.sha256}.pth")
    assert classifier.file.endswith(f"-{classifier.sha256}.pth")
    assert pretrained.free


@EVERY
def test_an_entry_is_whole(entry: Entry) -> None:
    assert re.fullmatch(r"https://[\w./-]+\.(pth|pth\.tar)", entry.url)
    assert entry.licence in ("Apache-2.0", "CC-BY-NC-4.0")
    assert 60 < entry.top1 < 80
    assert not entry.backbone or find(entry.backbone).url != entry.url


def test_all_eighteen_are_there_under_names_of_their_own() -> None:
    assert len(entries()) == 18
    assert len(set(map(str.lower, all_names()))) == len(all_names())
    assert find(DEFAULT).classes == 1000


def test_a_model_is_found_by_any_of_its_names() -> None:
    for word in ("swav-800e", "SWAV_800ep_pretrain", "swav_800ep_pretrain.pth.tar", find("swav-800e").url):
        assert find(word).name == "swav-800e"
    assert entry_named("resnet50") is None


def test_a_misspelt_name_gets_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no published model 'swav-80e'. Did you mean 'swav-800e'"):
        find("swav-80e")


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("", 18), ("*w2*", 1), ("W2", 1), ("selav2", 2), ("*mcrop*", 1), ("2x224", 3), ("*resnet50*", 18)],
)
def test_patterns(pattern: str, count: int) -> None:
    assert len(list_models(pattern)) == count

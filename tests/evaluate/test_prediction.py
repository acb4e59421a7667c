"""Answers of a classifier and of prototypes, against the network's own output for each picture by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from swav_cli.core.model import SwAV
from swav_cli.core.weights import About, Model
from swav_cli.data.decoding.images import read_picture
from swav_cli.data.sources import open_pictures
from swav_cli.errors import UserError
from swav_cli.evaluate.features import middle_square
from swav_cli.evaluate.inference import Inference
from swav_cli.evaluate.prediction import predict

CLUSTERS = About(
    "resnet18", width=4, stem="small", hidden_dim=16, embedding_dim=8, prototypes=12, size=16, mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.3, 0.4), source="tiny",
)  # fmt: skip
CLASSES = replace(CLUSTERS, hidden_dim=0, embedding_dim=0, prototypes=0, classes=("cat", "dog", "eel"))


def network(about: About) -> SwAV:
    torch.manual_seed(0)
    return about.build().eval()


def prepared(about: About, path: str) -> torch.Tensor:
    square = middle_square(read_picture(path, about.channels), about.size).float() / 255
    return ((square - torch.tensor(about.mean)[:, None, None]) / torch.tensor(about.std)[:, None, None])[None]


def test_classes(photos: Path) -> None:
    model = network(CLASSES)
    answers = list(predict(Model(model, CLASSES), photos, 2, Inference(batch_size=7)))
    assert [answer.path for answer in answers] == sorted(str(path) for path in photos.glob("*/*.png"))
    assert [answer.index for answer in answers] == list(range(40))
    for answer in answers[::9]:
        with torch.no_grad():
            expected = model.logits(prepared(CLASSES, answer.path))[0].softmax(0)
        order = expected.argsort(descending=True)[:2].tolist()
        assert [guess.number for guess in answer.top] == order
        assert [guess.name for guess in answer.top] == [CLASSES.classes[number] for number in order]
        assert [guess.probability for guess in answer.top] == pytest.approx(expected[order].tolist(), abs=1e-5)
        assert answer.margin is None
        assert answer.error is None


@pytest.mark.parametrize("length", [1.0, 3.0])
def test_clusters(photos: Path, length: float) -> None:
    """Cosines, whatever the length that others left their prototypes with."""
    model = network(CLUSTERS)
    model.normalize_prototypes()
    with torch.no_grad():
        model.prototypes.weight.mul_(length)
    answers = list(predict(Model(model, CLUSTERS), photos, 3, Inference()))
    model.normalize_prototypes()
    for answer in answers[::9]:
        with torch.no_grad():
            cosines = model.scores(prepared(CLUSTERS, answer.path))[0]
        best = cosines.sort(descending=True)
        assert [guess.number for guess in answer.top] == best.indices[:3].tolist()
        assert [guess.name for guess in answer.top] == [None] * 3
        shares = (best.values / 0.1).exp() / (cosines / 0.1).exp().sum()
        assert [guess.probability for guess in answer.top] == pytest.approx(shares[:3].tolist(), abs=1e-5)
        assert answer.margin == pytest.approx(float(best.values[0] - best.values[1]), abs=1e-5)


def test_no_more_guesses_than_there_are(photos: Path) -> None:
    answer = next(predict(Model(network(CLASSES), CLASSES), photos, top_k=99))
    assert len(answer.top) == 3
    assert sum(guess.probability for guess in answer.top) == pytest.approx(1)


def test_one_prototype_has_no_margin(photos: Path) -> None:
    about = replace(CLUSTERS, prototypes=1)
    answer = next(predict(Model(network(about), about), photos))
    assert (answer.margin, len(answer.top)) == (None, 1)


def test_batches_and_workers_change_nothing(photos: Path) -> None:
    model = network(CLUSTERS)
    tops = [
        [(answer.path, answer.top[0].number) for answer in predict(Model(model, CLUSTERS), photos, how=how)]
        for how in (Inference(batch_size=1), Inference(batch_size=40), Inference(batch_size=3, workers=2))
    ]
    assert tops[0] == tops[1] == tops[2]


def test_bad_pictures_have_their_answer(photos: Path) -> None:
    (photos / "plain" / "03.jpg").write_text("<html>")
    (photos / "stripes" / "99.png").touch()
    answers = list(predict(Model(network(CLASSES), CLASSES), photos))
    bad = {Path(answer.path).name: answer.error for answer in answers if answer.error}
    assert len(answers) == 42
    assert bad == {"03.jpg": "a web page, not a picture", "99.png": "the file is empty"}
    assert all(bool(answer.top) is (answer.error is None) for answer in answers)


def test_an_answer_that_is_not_finite_is_none(photos: Path) -> None:
    model = network(CLASSES)
    with torch.no_grad():
        model.fc.weight.fill_(torch.inf)
    assert {answer.error for answer in predict(Model(model, CLASSES), photos)} == {"the model's answer is not finite"}


def test_one_channel() -> None:
    """Files are read with the channels that the model takes."""
    about = replace(CLASSES, channels=1, mean=(0.5,), std=(0.2,))
    picture = Path(__file__).parent.parent.parent / "demo" / "bird.JPEG"
    (answer,) = predict(Model(network(about), about), picture)
    assert len(answer.top) == 3


def test_what_pictures_may_be(photos: Path) -> None:
    model = network(CLASSES)
    two = [photos / "plain" / "02.png", str(photos / "plain" / "00.png")]
    assert [Path(answer.path).name for answer in predict(Model(model, CLASSES), two)] == ["00.png", "02.png"]
    assert len(list(predict(Model(model, CLASSES), open_pictures("shapes:3")))) == 3


def test_a_network_in_training_answers_as_one_that_is_trained(photos: Path) -> None:
    model = network(CLASSES).train()
    before = model.bn1.running_mean.clone()
    list(predict(Model(model, CLASSES), photos))
    assert torch.equal(model.bn1.running_mean, before)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"prototypes": 0}, "a backbone (resnet18) and a projection head, but neither a classifier nor prototypes"),
        ({"prototypes": 0, "embedding_dim": 0, "hidden_dim": 0}, "a backbone (resnet18), but neither a classifier"),
    ],
)
def test_a_model_that_has_no_answer(photos: Path, parts: dict[str, int], told: str) -> None:
    about = replace(CLUSTERS, **parts)  # type: ignore[arg-type]
    with pytest.raises(UserError) as caught:
        predict(Model(network(about), about), photos)
    assert told in str(caught.value)
    assert "swav extract" in str(caught.value)


def test_at_least_one_guess(photos: Path) -> None:
    with pytest.raises(UserError, match="top_k"):
        predict(Model(network(CLASSES), CLASSES), photos, top_k=0)

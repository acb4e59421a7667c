from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from swav_cli.core.classifier import ClassifierTrainer, rate_share, with_classifier
from swav_cli.core.weights import About, Model
from swav_cli.data.decoding.formats import BadPicture
from swav_cli.data.reading.loader import Batch
from swav_cli.data.sources import open_pictures
from swav_cli.errors import Diverged, Interrupted, UserError
from swav_cli.recipe.classifier_schema import ClassifierScheduleRecipe, FinetuneRecipe, LinearRecipe
from swav_cli.recipe.sections import AugmentRecipe, CropRecipe
from swav_cli.run.checkpoint import newest_checkpoint, save_checkpoint
from swav_cli.run.folder import RunFolder
from swav_cli.run.metrics import Step
from tests.conftest import classifier_recipe
from tests.core.test_swav import same_state
from tests.training import train

CPU = torch.device("cpu")
ABOUT = About(
    "resnet18", width=4, stem="small", hidden_dim=16, embedding_dim=8, prototypes=12, size=16,
    mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25),
)  # fmt: skip


def network() -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = ABOUT.build()
        for name, buffer in model.named_buffers():  # statistics that an eval-mode network would be seen to use
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1)
    return model


def trainer_of(recipe: LinearRecipe | FinetuneRecipe, count: int = 40) -> ClassifierTrainer:
    return ClassifierTrainer(recipe, Model(network(), ABOUT), open_pictures(f"shapes:{count}"), "f", CPU)


def linear(*overrides: str) -> LinearRecipe:
    return classifier_recipe(LinearRecipe, *overrides)


def finetune(*overrides: str) -> FinetuneRecipe:
    return classifier_recipe(FinetuneRecipe, *overrides)


def test_a_frozen_backbone_stays_as_it_was_bit_for_bit(tmp_path: Path) -> None:
    trainer = trainer_of(linear("layers=[layer2]"))
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    heads = {name: tensor.clone() for name, tensor in trainer.heads.state_dict().items()}
    train(trainer, tmp_path)
    assert same_state(before, dict(trainer.model.state_dict()))
    assert all(not torch.equal(heads[name], tensor) for name, tensor in trainer.heads.state_dict().items())
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


def test_a_checkpoint_holds_each_tensor_once_and_builds_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(finetune("optimizer.momentum=0"))
    monkeypatch.setattr(About, "build", lambda self: pytest.fail("a network is built"))
    save_checkpoint(RunFolder(tmp_path), trainer.state())
    backbone = 4 * sum(tensor.numel() for tensor in trainer.model.state_dict().values())
    assert backbone < RunFolder(tmp_path).last.stat().st_size < 1.5 * backbone


def test_a_checkpoint_that_holds_the_backbone_twice_as_they_did_before_is_gone_on_with() -> None:
    trained, again = trainer_of(finetune()), trainer_of(finetune())
    with torch.no_grad():
        trained.model.conv1.weight.add_(1)
    state = trained.state()
    again.restore({**state, "model": with_classifier(*trained._classifier_parts()).network.state_dict(),
                   "backbone": trained.model.state_dict()})  # fmt: skip
    assert same_state(dict(again.model.state_dict()), dict(trained.model.state_dict()))


def test_fine_tuning_moves_the_backbone_and_leaves_head_and_prototypes(tmp_path: Path) -> None:
    trainer = trainer_of(finetune())
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    train(trainer, tmp_path)
    for name, tensor in trainer.model.state_dict().items():
        aside = name.startswith(("projection_head", "prototypes"))
        assert torch.equal(before[name], tensor) == aside, name


def test_one_step_of_linear_evaluation_by_hand() -> None:
    """SGD on cross entropy of a linear layer on the eval-mode features, in float64."""
    trainer = trainer_of(linear("training.precision=float64", "optimizer.weight_decay=0.01"))
    batch = made_batch(trainer)
    head = trainer.heads["pooled"]
    weight, bias = head.weight.detach().clone(), head.bias.detach().clone()
    with torch.no_grad():
        features = trainer.model.eval().features(trainer.pixels(batch))
    wanted = weight.clone().requires_grad_()
    offset = bias.clone().requires_grad_()
    loss = F.cross_entropy(features @ wanted.T + offset, trainer.labels[batch.indices])
    loss.backward()
    told, norm = trainer.train_step([batch])
    rate = 0.5 * 8 / 256
    assert told == pytest.approx(loss.item(), rel=1e-6)
    assert wanted.grad is not None
    assert offset.grad is not None
    assert norm == pytest.approx(float(torch.cat([wanted.grad.flatten(), offset.grad]).norm()), rel=1e-6)
    torch.testing.assert_close(head.weight.detach(), weight - rate * (wanted.grad + 0.01 * weight))
    torch.testing.assert_close(head.bias.detach(), bias - rate * (offset.grad + 0.01 * bias))


def made_batch(trainer: ClassifierTrainer, bad: tuple[int, ...] = (), first: int = 0, count: int = 8) -> Batch:
    from swav_cli.core.multicrop import MultiCrop
    from swav_cli.data.reading.loader import Crops

    augment = AugmentRecipe(jitter=0, grayscale=0, blur=0)
    crops = Crops(trainer.pictures, MultiCrop([CropRecipe(count=1, size=16, scale=(0.5, 1.0))], augment, 0))
    batch = crops.__getitems__([(0, index) for index in range(first, first + count)])
    return batch._replace(bad=[(index, "broken") for index in bad])


def test_rates_of_backbone_and_classifier_differ() -> None:
    trainer = trainer_of(finetune("optimizer.lr=0.8", "optimizer.backbone_lr=0.2"))
    trainer.train_step([made_batch(trainer)])
    assert [group["lr"] for group in trainer.optimizer.param_groups] == pytest.approx([0.8 * 8 / 256, 0.2 * 8 / 256])


def test_parts_give_the_gradient_of_the_whole_batch() -> None:
    whole, parted = (trainer_of(linear("training.precision=float64")) for _ in range(2))
    whole.train_step([made_batch(whole)])
    parted.train_step([made_batch(parted, count=4), made_batch(parted, first=4, count=4)])
    torch.testing.assert_close(whole.heads.state_dict(), parted.heads.state_dict(), rtol=1e-10, atol=1e-14)


def test_a_picture_that_another_stands_in_for_teaches_nothing() -> None:
    """The stand-in is of another class than the label says."""
    trainer = trainer_of(linear("training.precision=float64"))
    batch = made_batch(trainer)
    kept = made_batch(trainer, bad=(2,))
    logits = trainer.logits(trainer.pixels(batch))["pooled"]
    each = F.cross_entropy(logits, trainer.labels[batch.indices], reduction="none")
    assert trainer._losses(kept)["pooled"].item() == pytest.approx(((each.sum() - each[2]) / 8).item())


def test_the_rate_falls_as_published() -> None:
    cosine = ClassifierScheduleRecipe()
    assert [rate_share(epoch, 4, cosine) for epoch in range(4)] == pytest.approx([1, 0.8535534, 0.5, 0.1464466])
    drops = ClassifierScheduleRecipe(drop_epochs=[12, 16], drop_factor=0.2)
    assert [rate_share(epoch, 20, drops) for epoch in (0, 11, 12, 15, 16, 19)] == pytest.approx(
        [1, 1, 0.2, 0.2, 0.04, 0.04]
    )


@pytest.mark.parametrize("task", ["linear", "finetune"])
@pytest.mark.parametrize("stop_at", [2, 5])
def test_a_stopped_run_goes_on_as_if_it_never_was(tmp_path: Path, task: str, stop_at: int) -> None:
    recipe = linear("layers=[layer1]") if task == "linear" else finetune()
    undisturbed = trainer_of(recipe)
    train(undisturbed, tmp_path / "a")
    folder = RunFolder(tmp_path / "b")

    def interrupt(step: Step) -> None:
        if step.number == stop_at:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        train(trainer_of(recipe), folder.path, interrupt)
    state = newest_checkpoint(folder, print)
    assert state is not None
    again = trainer_of(recipe)
    again.restore(state)
    assert again.course.step == stop_at
    train(again, folder.path)
    ours, theirs = again.state(), undisturbed.state()
    for each in (ours, theirs):
        del each["seconds"]
    assert same_state(ours, theirs)


def test_the_classifier_says_what_was_trained(tmp_path: Path) -> None:
    for recipe in (linear(), finetune()):
        trainer = trainer_of(recipe)
        train(trainer, tmp_path / recipe.task)
        model = trainer.classifier()
        made, about = model.network, model.about
        x = torch.randn(3, 3, 16, 16)
        trainer.model.eval()
        torch.testing.assert_close(made.logits(x), trainer.logits(x)["pooled"].detach())
        assert about.classes == tuple(trainer.classes)
        assert made.has("prototypes") == (recipe.task == "linear")


def test_a_classifier_takes_the_place_of_another() -> None:
    from dataclasses import replace

    other = replace(ABOUT, classes=("x", "y", "z"))
    head = torch.nn.Linear(32, 2)
    model = with_classifier(Model(other.build(), other), head, ("a", "b"))
    made, about = model.network, model.about
    assert about.classes == ("a", "b")
    assert torch.equal(made.fc.weight, head.weight)


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    trainer = trainer_of(linear())
    trainer.mean = trainer.mean * float("nan")
    with pytest.raises(Diverged, match="step 0: the loss is nan"):
        trainer.train_step([made_batch(trainer)])


def test_an_unknown_layer_has_one_line() -> None:
    with pytest.raises(UserError, match=r"--layers layr2: no such layer\. Did you mean 'layer2'\?"):
        trainer_of(linear("layers=[layr2]"))


def test_an_unreadable_picture_is_noted_and_its_class_not_learnt(tmp_path: Path) -> None:
    trainer = trainer_of(linear("data.max_bad=0.5"))
    original = trainer.pictures.read

    def read(index: int) -> torch.Tensor:
        if index == 7:
            raise BadPicture("broken")
        return original(index)

    trainer.pictures.read = read  # type: ignore[method-assign]
    train(trainer, tmp_path)
    assert list(trainer.course.bad) == [7]

"""DeepCluster-v2: its targets against what the memory holds, exact through stops, and it learns."""

from __future__ import annotations

import math
import signal
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from swav_cli.core.deepcluster import NONE, DeepCluster, cluster_prediction, make_trainer
from swav_cli.core.kmeans import spherical_kmeans
from swav_cli.data.reading.loader import Crops, epoch_order
from swav_cli.data.sources import ShapePictures
from swav_cli.errors import Interrupted
from swav_cli.run.checkpoint import load_checkpoint
from swav_cli.run.folder import RunFolder
from swav_cli.run.metrics import Step
from tests.conftest import tiny_recipe
from tests.core.test_swav import same_state
from tests.training import train

COUNT, IN_AN_EPOCH = 52, 48  # pictures; those that fill whole batches of 8, of which an epoch has six
CLUSTERS = ("objective=deepcluster2", "loss.queue.length=0", "loss.freeze_prototypes_steps=0", "training.epochs=2")

# Colours are computed in float32, and rounded otherwise in another batch.
PLAIN = ("augment.jitter=0", "augment.grayscale=0", "augment.blur=0")


def trainer_of(*overrides: str) -> DeepCluster:
    trainer = make_trainer(tiny_recipe(*CLUSTERS, *overrides), ShapePictures(COUNT, 0, "train"), torch.device("cpu"))
    assert isinstance(trainer, DeepCluster)
    return trainer


def slow_loss(embeddings: Tensor, centroids: Tensor, targets: Tensor) -> float:
    """Every head, crop and picture in turn."""
    terms = []
    for head, own in zip(centroids, targets, strict=True):
        for crop in embeddings:
            for embedding, target in zip(crop, own.tolist(), strict=True):
                p = torch.softmax(head @ embedding / 0.1, dim=0)
                terms.append(-math.log(p[target]) if target != NONE else 0.0)
    return sum(terms) / len(centroids) / len(embeddings)


def test_the_loss_agrees_with_the_slow_form() -> None:
    torch.manual_seed(0)
    embeddings, centroids = torch.randn(3, 4, 5).double() / 2, torch.randn(2, 6, 5).double() / 2
    targets = torch.tensor([[0, 5, NONE, 2], [3, 3, NONE, 1]])
    loss = cluster_prediction(embeddings, centroids, targets, temperature=0.1)
    assert float(loss) == pytest.approx(slow_loss(embeddings, centroids, targets), rel=1e-12)


def test_targets_are_the_nearest_centroids_of_what_was_remembered() -> None:
    """After the first look, and after an epoch; each head of its own crop, each picture by its own row."""
    trainer = trainer_of("training.precision=float64")
    looked_at: list[int] = []
    views = trainer.views
    trainer.views = lambda batch: looked_at.extend(batch.indices.tolist()) or views(batch)  # type: ignore[method-assign]
    trainer.remember_all(0)
    norms = [norm.clone() for name, norm in trainer.model.state_dict().items() if "running_" in name]
    assert all(set(norm.unique().tolist()) <= {0.0, 1.0} for norm in norms)  # as they were
    steps = trainer.steps(0)
    for epoch in range(2):
        memory = trainer.memory.rows.clone()
        next(steps)
        order = epoch_order(COUNT, 0, epoch - 1)
        assert looked_at[:-8] == order[:IN_AN_EPOCH].tolist()
        torch.testing.assert_close(memory.norm(dim=2), torch.ones(IN_AN_EPOCH, 2, dtype=torch.float64))
        for head, crop in ((0, 0), (1, 1), (2, 0)):
            centroids, of_head = trainer.centroids[head], trainer.targets[head]
            assert of_head[order[:IN_AN_EPOCH]].tolist() == (memory[:, crop] @ centroids.T).argmax(dim=1).tolist()
            assert set(of_head[order[IN_AN_EPOCH:]].tolist()) == {NONE}
            # It is where k-means comes to rest, or on the way there.
            further, _ = spherical_kmeans(memory[:, crop], centroids, 1)
            assert float((further * centroids).sum(dim=1).min()) > 0.9
        assert not torch.equal(trainer.centroids[0], trainer.centroids[2])  # drawn anew
        assert torch.equal(trainer.model.prototypes.weight, trainer.centroids[0])
        del looked_at[:-8]
        for _ in range(5):
            next(steps)
    steps.close()


def test_parts_give_the_loss_and_the_gradients_of_the_whole_batch() -> None:
    """Without batch statistics; a picture without a target counts for nothing in whichever part it is."""
    found = []
    order = epoch_order(COUNT, 0, 0)[:8]
    for parts in (1, 2, 4):
        trainer = trainer_of("training.precision=float64", f"training.accumulate={parts}", *PLAIN)
        trainer.memory.rows.copy_(torch.randn(trainer.memory.rows.shape, generator=torch.Generator().manual_seed(0)))
        trainer.cluster()
        trainer.targets[:, order[5]] = NONE
        trainer.model.eval()
        trainer.optimizer.step = lambda: None  # type: ignore[method-assign,assignment]
        crops = Crops(trainer.pictures, trainer.multicrop)
        told = trainer.train_step(
            [crops.__getitems__([(0, int(i)) for i in piece]) for piece in np.split(order, parts)]
        )
        found.append((told, [p.grad for p in trainer.model.parameters()], trainer.memory.rows[:8].clone()))
    for told, gradients, remembered in found[1:]:
        assert told == pytest.approx(found[0][0], rel=1e-6)
        torch.testing.assert_close(remembered, found[0][2])
        for own, whole in zip(gradients[:-1], found[0][1][:-1], strict=True):
            torch.testing.assert_close(own, whole, rtol=1e-9, atol=1e-12)
        assert gradients[-1] is None  # that of the prototypes


def test_a_run_that_is_stopped_again_and_again_goes_on_as_if_it_never_was(tmp_path: Path) -> None:
    """Within an epoch, at its end, and one step after it."""
    undisturbed = trainer_of("optimizer.name=lars")
    undisturbed.remember_all(0)
    train(undisturbed, tmp_path / "a")
    folder = RunFolder(tmp_path / "b")
    for stop_at in (4, 6, 7, 12):
        trainer = trainer_of("optimizer.name=lars")
        if folder.last.exists():
            trainer.restore(load_checkpoint(folder.last))
        else:
            trainer.remember_all(0)

        def interrupt(step: Step, stop_at: int = stop_at) -> None:
            if step.number == stop_at:
                signal.raise_signal(signal.SIGTERM)

        with suppress(Interrupted):
            train(trainer, folder.path, interrupt)
        assert trainer.course.step == stop_at
    ours, theirs = trainer.state(), undisturbed.state()
    del ours["seconds"], theirs["seconds"]
    assert ours.keys() > {"memory", "targets", "centroids"}
    assert same_state(ours, theirs)

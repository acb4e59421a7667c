"""What classifiers are trained from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from swav_cli.data.folders.file_pictures import FilePictures
from swav_cli.tasks.classifier_job import Job, numbered_as_before


def job_of(train: list[str], val: list[str]) -> Job:
    unset: list[Any] = [None] * len(Job._fields)
    sides = [FilePictures(Path(), names, 3, "photos") for names in (train, val)]
    return Job(*unset)._replace(train=sides[0], val=sides[1], val_labels=torch.zeros(len(val), dtype=torch.long))


def test_a_run_goes_on_with_the_classes_in_the_order_that_its_weights_have() -> None:
    """Weights that were trained when classes called 9 and 10 came in the order of letters."""
    job = job_of(["9/a.png", "10/a.png", "9/b.png"], ["10/v.png", "9/v.png"])
    assert job.classes == ["9", "10"]
    again = numbered_as_before(job, ["10", "9"])
    assert again.classes == ["10", "9"]
    assert again.train.labels is not None
    assert again.train.labels.tolist() == [1, 0, 1]
    assert again.val_labels.tolist() == [0, 1]
    other = job_of(["9/a.png", "10/a.png"], ["10/v.png"])
    assert numbered_as_before(other, ["9", "11"]) is other

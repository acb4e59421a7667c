"""`swav pretrain` as a user runs it: a real process, real files, bad input and interruptions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from swav_cli import load_model
from swav_cli.run.metrics import read_metrics
from tests.conftest import Command, Run, made_once
from tests.processes import run, start, wait_until


def test_a_run_from_beginning_to_end(swav: Run, tiny_file: Path, tmp_path: Path) -> None:
    done = swav("pretrain", tiny_file)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    for words in ("learning rate 0.8 x 8 / 256 = 0.025", "epoch 3/3", "of ln K", "k-NN   learnt", "raw pixels", "next"):
        assert words in done.stderr
    run = tmp_path / "runs" / "tiny"
    assert {path.name for path in run.iterdir()} == {
        ".lock", "recipe.yaml", "metrics.jsonl", "checkpoints", "model.safetensors", "results.json",
        "prototypes.png",
    }  # fmt: skip
    results = json.loads((run / "results.json").read_text())
    assert {"knn", "knn_raw_pixels", "knn_untrained", "seconds", "loss", "loss_over_ln_k"} <= results.keys()
    assert 0 <= results["knn"] <= 100
    settled = yaml.safe_load((run / "recipe.yaml").read_text())
    assert settled["training"]["precision"] == "float32"
    steps = [line for line in read_metrics(run / "metrics.jsonl") if line["kind"] == "step"]
    assert [line["step"] for line in steps] == list(range(1, 19))
    assert {
        "epoch", "step", "loss", "loss_over_ln_k", "lr", "gradient_norm", "images_per_second", "data_wait", "seconds",
    } <= steps[0].keys()  # fmt: skip
    model = load_model(run)
    assert model.about.mean == (0.5, 0.5, 0.5)
    assert model.about.size == 16
    assert model.features(torch.randn(2, 3, 16, 16)).shape == (2, 32)

    again = swav("pretrain", tiny_file, "--json")
    assert again.returncode == 0
    assert "is finished" in again.stderr
    assert json.loads(again.stdout) == results


def test_clusters_of_the_epoch_before_as_targets(swav: Run, tiny_file: Path, tmp_path: Path) -> None:
    """It learns, and what it leaves is a model like any other, with the first head's prototypes."""
    wanted = (
        "objective=deepcluster2", "loss.queue.length=0", "loss.freeze_prototypes_steps=0", "data.val=null",
        "training.batch_size=16", "model.hidden_dim=64", "model.embedding_dim=32", "crops.1.size=12",
        "augment.jitter=0", "augment.grayscale=0", "augment.blur=0",
    )  # fmt: skip
    options = [word for each in wanted for word in ("--set", each)]
    done = swav("pretrain", tiny_file, "--data", "shapes:96", "--epochs", 8, *options)
    assert done.returncode == 0, done.stderr
    assert "deepcluster2: targets are 3 clusterings of the epoch before" in done.stderr
    run = tmp_path / "runs" / "tiny"
    first, *_, last = (line for line in read_metrics(run / "metrics.jsonl") if line["kind"] == "epoch")
    assert last["loss_over_ln_k"] < 0.9 < first["loss_over_ln_k"]
    assert (last["verdict"], last["code_entropy"], last["stability"]) == ("healthy", 0, None)
    assert last["perplexity"] > 4
    assert last["agreement"] > 0.3
    state = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    model = load_model(run)
    assert torch.equal(model.network.prototypes.weight, state["centroids"][0])
    assert model.scores(torch.randn(2, 3, 16, 16)).shape == (2, 12)
    answers = swav("predict", run / "prototypes.png", "--model", run / "checkpoints" / "last.pt", "--json")
    assert answers.returncode == 0, answers.stderr


def test_another_recipe_in_the_same_folder_is_refused_with_the_keys(swav: Run, tiny_file: Path, tmp_path: Path) -> None:
    assert swav("pretrain", tiny_file, "--epochs", 2).returncode == 0
    before = (tmp_path / "runs/tiny/results.json").read_text()
    refused = swav("pretrain", tiny_file, "--set", "loss.epsilon=0.03")
    assert refused.returncode == 2
    assert "loss.epsilon: 0.05 -> 0.03" in refused.stderr
    assert "training.epochs: 2 -> 3" in refused.stderr
    for way in ("--out", "--overwrite", "--no-resume"):
        assert way in refused.stderr
    assert (tmp_path / "runs/tiny/results.json").read_text() == before
    beside = swav("pretrain", tiny_file, "--no-resume")
    assert beside.returncode == 0
    assert (tmp_path / "runs/tiny-2/results.json").exists()
    (tmp_path / "runs/tiny/notes.txt").write_text("mine")
    over = swav("pretrain", tiny_file, "--overwrite", "--epochs", 1, "--set", "loss.queue.length=0")
    assert over.returncode == 0, over.stderr
    assert (tmp_path / "runs/tiny/notes.txt").read_text() == "mine"
    assert max(line["step"] for line in read_metrics(tmp_path / "runs/tiny/metrics.jsonl")) == 6


LONG = ("--set", "training.epochs=4", "--set", "data.train=shapes:480", "--set", "data.val=null")


def is_at(metrics: Path, step: int) -> bool:
    return any(line.get("step", 0) >= step for line in read_metrics(metrics))


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["model"])


@pytest.fixture
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny_file: Path) -> Path:
    def make(folder: Path) -> None:
        ran = run("pretrain", tiny_file, *LONG, "--out", folder / "run", cwd=folder)
        assert ran.returncode == 0, ran.stderr

    return made_once(tmp_path_factory, "undisturbed-run", make) / "run"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_an_interrupted_run_goes_on_with_the_same_command(
    swav: Run, undisturbed: Path, tiny_file: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    run = tmp_path / "disturbed"
    process = start("pretrain", tiny_file, *LONG, "--out", run, cwd=tmp_path, stdout=None)
    wait_until(lambda: is_at(run / "metrics.jsonl", 75), process)
    process.send_signal(number)
    _, said = process.communicate(timeout=200)
    assert process.returncode == code, said
    if number != signal.SIGKILL:
        assert "all is saved. Go on with the same command" in said
        assert "Traceback" not in said
        assert (run / "model.safetensors").exists()
    assert not (run / "results.json").exists()
    went_on = swav("pretrain", tiny_file, *LONG, "--out", run)
    assert went_on.returncode == 0
    assert "going on at step" in went_on.stderr
    ours, theirs = weights_of(run), weights_of(undisturbed)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pretrain", "quikstart"], "no recipe 'quikstart'. Did you mean 'quickstart'?"),
        (["pretrain", "no-such-folder/"], "no recipe"),
        (["pretrain", "quickstart", "--set", "loss.epsilom=1"], "unknown key 'loss.epsilom'. Did you mean 'epsilon'?"),
        (["pretrain", "quickstart", "--set", "loss.epsilon"], "key=value"),
        (["pretrain", "quickstart", "--epochs", "0"], "training.epochs"),
        (["pretrain", "quickstart", "--precision", "bf17"], "training.precision"),
        (["pretrain", "quickstart", "--device", "cudda"], "no such device"),
        (["pretrain", "quickstart", "--device", "cuda:99"], "not on this machine"),
        (["pretrain", "quickstart", "--data", "nowhere"], "nowhere: no such folder"),
        (["pretrain", "quickstart", "--batch-size", "9000"], "training.batch_size (9000) is larger than"),
        (["pretrain", "quickstart", "--set", "loss.freeze_prototypes_steps=5005"], "is not shorter than the run"),
        (["pretrain", "quickstart", "--init-from", "nothing.pt"], "nothing.pt: no such file"),
        (["pretrain", "quickstart", "--init-from", "nothing.pt", "--dry-run"], "nothing.pt: no such file"),
        (["pretrain", "quickstart", "--preview", "missing/there.png", "--data", "nowhere"], "nowhere"),
        (["pretrain"], "Missing argument"),
        (["pretain"], "pretrain"),
        (["pretrain", "quickstart", "--epoch", "3"], "--epochs"),
        (["pretrain", "quickstart", "--epochs", "three"], "--epochs"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(
    swav: Run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    refused = swav(*arguments)
    assert refused.returncode == 2
    assert message in " ".join(refused.stderr.replace("│", " ").split())
    assert "Traceback" not in refused.stderr
    assert refused.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_traceback_shows_where_an_error_arose(swav: Run) -> None:
    assert "Traceback" in swav("--traceback", "pretrain", "quikstart").stderr


def test_a_folder_in_place_of_a_recipe_trains_small_folder_on_it(swav: Run, photos: Path, tmp_path: Path) -> None:
    small = ("--set", "crops.0.size=32", "--set", "model.width=4", "--epochs", 1)
    done = swav("pretrain", photos, *small)
    assert done.returncode == 0, done.stderr
    assert "40 pictures" in done.stderr
    for key in ("model.prototypes", "data.mean", "optimizer.lr", "training.batch_size"):
        assert f"{key} = " in done.stderr
    settled = yaml.safe_load((tmp_path / "runs/small-folder/recipe.yaml").read_text())
    assert "auto" not in {str(value) for part in ("model", "loss", "optimizer") for value in settled[part].values()}
    results = json.loads((tmp_path / "runs/small-folder/results.json").read_text())
    assert "knn" not in results
    began = read_metrics(tmp_path / "runs/small-folder/metrics.jsonl")[0]
    assert (began["kind"], began["step"], began["pictures"]) == ("start", 0, 40)
    assert began["derived"]["model.prototypes"]["value"] == 30
    assert began["derived"]["model.prototypes"]["reason"] == "one for ten of 40 pictures, at least 30 and at most 3,000"
    assert {"swav", "python", "torch", "system", "device"} <= began["environment"].keys()
    refused = swav("pretrain", photos, "--data", photos)
    assert refused.returncode == 2
    assert "leave --data out" in refused.stderr


def test_a_flat_folder_of_odd_files_needs_no_labels(swav: Run, tmp_path: Path, tiny_file: Path) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for number in range(30):
        picture = Image.fromarray(rng.integers(0, 255, (20 + number, 30, 3), dtype=np.uint8))
        picture.convert(["RGB", "L", "P", "RGBA"][number % 4]).save(folder / f"{number}.PNG")
    (folder / "notes.txt").write_text("not a picture")
    (folder / "broken.png").write_bytes(b"\x89PNG broken")
    options = ("--set", "loss.queue.length=0", "--set", "data.max_bad=0.1", "--epochs", 2)
    done = swav("pretrain", tiny_file, "--data", folder, *options)
    assert done.returncode == 0, done.stderr
    assert "31 pictures" in done.stderr
    told = done.stderr[done.stderr.index("1 picture could not be read; see ") :].splitlines()
    assert told[1].startswith(f"    {folder / 'broken.png'}: ")
    assert "k-NN" not in done.stderr
    assert "broken.png" in (tmp_path / "runs/tiny/bad-pictures.txt").read_text()


def test_dry_run_tells_all_and_writes_nothing(swav: Run, tiny_file: Path, tmp_path: Path) -> None:
    told = swav("pretrain", tiny_file, "--dry-run")
    assert told.returncode == 0, told.stderr
    for words in ("6 steps an epoch, 18 in all", "0.8 x 8 / 256 = 0.025", "parameters", "of memory", "ln K = 2.485"):
        assert words in told.stdout
    content = yaml.safe_load(told.stdout)
    assert content["model"]["width"] == 4
    facts = json.loads(swav("pretrain", tiny_file, "--dry-run", "--json").stdout)
    assert facts["steps"] == 18
    assert facts["recipe"]["loss"]["queue"]["length"] == 32
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


def test_dry_run_for_several_processes(swav_here: Command, tiny_file: Path) -> None:
    assert swav_here("pretrain", tiny_file, "--dry-run", "--devices", 2).code == 0
    told = swav_here("pretrain", tiny_file, "--dry-run", "--devices", 3)
    assert (told.code, told.out) == (2, "")
    assert told.err == "swav: training.batch_size (8) does not divide evenly over 3 processes; try --batch-size 6\n"


def test_dry_run_of_a_published_recipe(swav: Run) -> None:
    told = swav("pretrain", "in1k-200e", "--data", "shapes:1281167", "--dry-run", "--json", "--device", "cpu")
    assert told.returncode == 0, told.stderr
    facts = json.loads(told.stdout)
    assert facts["steps_per_epoch"] == 5004
    assert facts["parameters"] == 28_354_752
    assert "0.6 x 256 / 256 = 0.6" in facts["learning_rate"]


def test_preview_is_a_sheet_of_crops(swav: Run, tiny_file: Path, tmp_path: Path) -> None:
    done = swav("pretrain", tiny_file, "--preview", "crops.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "crops.png") as sheet:
        assert sheet.width > 3 * 96  # the crops of a picture side by side, and several pictures a line
        assert sheet.height >= 4 * 96
        assert np.asarray(sheet).std() > 10
    assert not (tmp_path / "runs").exists()


def test_a_folder_with_other_files_is_left_alone(swav: Run, tiny_file: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    for option in ("--resume", "--overwrite"):
        refused = swav("pretrain", tiny_file, "--out", mine, option)
        assert refused.returncode == 2
        assert "holds other files and no run" in refused.stderr
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]


def test_init_from_a_run_takes_its_weights(swav: Run, tiny_file: Path, tmp_path: Path) -> None:
    assert swav("pretrain", tiny_file, "--epochs", 2).returncode == 0
    more = ("--set", "model.prototypes=20", "--epochs", 2, "--out", "second")
    done = swav("pretrain", tiny_file, "--init-from", "runs/tiny", *more)
    assert done.returncode == 0, done.stderr
    assert "backbone tensors, projection head 9 of 9, prototypes begin anew" in done.stderr
    refused = swav("pretrain", tiny_file, "--init-from", "runs/tiny", "--set", "model.width=8", "--out", "third")
    assert refused.returncode == 2
    assert "first that does not: conv1.weight" in refused.stderr
    assert not (tmp_path / "third").exists()


def test_a_loss_that_is_not_finite_ends_with_code_3(swav: Run, tiny_file: Path) -> None:
    diverged = swav("pretrain", tiny_file, "--set", "optimizer.lr=1e30", "--set", "schedule.warmup_epochs=0")
    assert diverged.returncode == 3
    assert "learning rate" in diverged.stderr
    assert "Traceback" not in diverged.stderr
    last = read_metrics(tiny_file.parent / "runs/tiny/metrics.jsonl")[-1]
    assert (last["kind"], last["diverged"]) == ("failed", True)
    assert diverged.stderr.strip().endswith(last["why"])


def test_pictures_that_changed_since_are_noticed(swav: Run, tiny_file: Path, photos: Path) -> None:
    options = ("--data", photos, "--set", "loss.queue.length=0", "--epochs", 400)
    process = start("pretrain", tiny_file, *options, cwd=tiny_file.parent, stdout=None, stderr=subprocess.DEVNULL)
    wait_until(lambda: is_at(tiny_file.parent / "runs/tiny/metrics.jsonl", 3), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(200) == 130
    os.rename(photos / "plain" / "00.png", photos / "plain" / "new.png")
    refused = swav("pretrain", tiny_file, *options)
    assert refused.returncode == 2
    assert "have changed since the run began" in refused.stderr


def test_the_published_names_of_torchvision_load(swav: Run, tiny_file: Path, tmp_path: Path) -> None:
    from torchvision.models import resnet18

    torch.save(resnet18().state_dict(), tmp_path / "resnet18.pth")
    options = ("--set", "model.width=64", "--set", "model.stem=imagenet", "--epochs", 2)
    done = swav("pretrain", tiny_file, "--init-from", "resnet18.pth", *options)
    assert done.returncode == 0, done.stderr
    assert "120 of 120 backbone tensors, projection head begins anew, prototypes begin anew" in done.stderr

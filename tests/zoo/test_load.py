"""Whatever names a model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from swav_cli import SwAV, UserError
from swav_cli.core.weights import Model, about, save_model
from swav_cli.exports.formats import ExportRequest
from swav_cli.files import write_text
from swav_cli.recipe.file import dump_recipe
from swav_cli.run.checkpoint import save_checkpoint
from swav_cli.run.folder import RunFolder
from swav_cli.run.pictures import run_of
from swav_cli.tasks.export import export
from swav_cli.tasks.models import describe_model
from swav_cli.zoo.catalogue import DEFAULT, find
from swav_cli.zoo.load import load, load_model, start_from
from tests.conftest import REFERENCE, tiny_recipe

OFFICIAL = REFERENCE / "layouts" / "official_ckpt.pth.tar"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With no run in it, and a folder for published files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("SWAV_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def run_of_ours(name: str, finished: bool = True) -> SwAV:
    recipe = tiny_recipe("data.mean=[0.4,0.5,0.6]")
    model = SwAV("resnet18", width=4, stem="small", hidden_dim=16, embedding_dim=8, prototypes=12).eval()
    folder = RunFolder(Path("runs") / name)
    write_text(folder.recipe, dump_recipe(recipe))
    save_checkpoint(folder, {"model": model.state_dict()})
    if finished:
        save_model(folder.model, Model(model, about(recipe)))
    return model


@pytest.mark.parametrize("source", ["runs/a", "runs/a/model.safetensors", "runs/a/checkpoints/last.pt", None])
def test_a_run_of_ours(source: str | None) -> None:
    model, told = run_of_ours("a"), []
    found = load_model(source, notice=told.append)
    read, described = found.network, found.about
    assert described.mean == (0.4, 0.5, 0.6)
    assert not read.training
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in read.state_dict().items())
    assert told == ([] if source else ["model: runs/a"])


def test_a_run_that_has_not_ended_is_read_from_its_checkpoint() -> None:
    run_of_ours("a", finished=False)
    told: list[str] = []
    load_model("runs/a", notice=told.append)
    assert "its last checkpoint is taken, runs/a/checkpoints/last.pt" in told[0]
    shutil.rmtree("runs/a/checkpoints")
    with pytest.raises(UserError, match="runs/a: holds no model and no checkpoint"):
        load_model("runs/a")


def test_a_checkpoint_without_its_recipe() -> None:
    run_of_ours("a")
    Path("runs/a/recipe.yaml").unlink()
    with pytest.raises(UserError, match=r"needs the recipe.yaml"):
        load_model("runs/a/checkpoints/last.pt")


@pytest.mark.parametrize(
    ("state", "told"),
    [({"model": 3}, "without its model"), ({"about": "{}"}, "whose description is none"), ({"about": 7}, "is none")],
)
def test_a_checkpoint_of_ours_that_somebody_has_changed(state: dict[str, object], told: str) -> None:
    run_of_ours("a")
    path = Path("runs/a/checkpoints/last.pt")
    torch.save({**torch.load(path), **state}, path)
    with pytest.raises(UserError, match=told):
        load_model(path)


def test_a_foreign_file_tells_what_was_loaded() -> None:
    told: list[str] = []
    found = load_model(OFFICIAL, notice=told.append)
    described = found.about
    assert "120 of 120 backbone tensors, projection head 9 of 9, prototypes 30 x 16; assumed" in told[0]
    assert described.source == "official_ckpt.pth.tar"
    assert described.licence == ""


@pytest.mark.parametrize("content", [torch.ones(3), [torch.ones(2)], {}])
def test_a_file_without_names(content: object) -> None:
    torch.save(content, "odd.pth")
    with pytest.raises(UserError, match=r"odd\.pth: holds no tensors by name"):
        load_model("odd.pth")


def test_foreign_safetensors(empty_folder: Path) -> None:
    from safetensors.torch import save_file
    from torchvision.models import resnet18

    save_file(resnet18().state_dict(), empty_folder / "timm.safetensors")
    assert load("timm.safetensors").layout == "torchvision or timm"


def test_a_published_model_comes_with_source_and_licence(empty_folder: Path) -> None:
    shutil.copy(OFFICIAL, empty_folder / "mirror" / "swav_800ep_pretrain.pth.tar")
    for source in ("swav-800e", find("swav-800e").url, "mirror/swav_800ep_pretrain.pth.tar"):
        told: list[str] = []
        found = load_model(source, notice=told.append)
        described = found.about
        assert (described.source, described.licence) == ("swav-800e", "CC-BY-NC-4.0")
        assert any("licence CC-BY-NC-4.0: for non-commercial use alone" in line for line in told)
        assert not any("assumed" in line for line in told)


def test_the_linear_layer_is_joined_to_its_backbone(empty_folder: Path) -> None:
    linear = {"module.linear.weight": torch.randn(1000, 64), "module.linear.bias": torch.zeros(1000)}
    torch.save({"state_dict": linear, "best_acc": 75.3}, empty_folder / "mirror" / "swav_800ep_eval_linear.pth.tar")
    with pytest.raises(UserError, match=r"swav_800ep_pretrain.pth.tar is not there"):
        load_model("swav_800ep_eval_linear")
    shutil.copy(OFFICIAL, empty_folder / "mirror" / "swav_800ep_pretrain.pth.tar")
    for source in ("swav_800ep_eval_linear", "mirror/swav_800ep_eval_linear.pth.tar"):
        found = load_model(source)
        model, described = found.network, found.about
        assert torch.equal(model.fc.weight, linear["module.linear.weight"])
        assert described.classes[:2] == ("tench", "goldfish")
        assert model.logits(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)
    torch.save({"state_dict": linear}, "mine.pth")
    with pytest.raises(UserError, match="a linear layer alone; name it with --linear, and as the model the backbone"):
        load_model("mine.pth")


def test_nothing_named_and_no_run_is_the_published_classifier() -> None:
    told: list[str] = []
    with pytest.raises(UserError, match=r"80341e08.pth is not there.*Or train a model of your own"):
        load_model(notice=told.append)
    assert told == [f"model: {DEFAULT}"]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("swav-80e", "no such run, file or published model. Did you mean 'swav-800e'"),
        ("quickstrat", "Did you mean 'quickstart'"),
        ("runs/quickstrt", "no such file or folder. Did you mean 'runs/quickstart'"),
        ("nothing.pt", "nothing.pt: no such file"),
    ],
)
def test_an_unknown_word_gets_the_nearest(word: str, told: str) -> None:
    run_of_ours("quickstart")
    with pytest.raises(UserError, match=told):
        load_model(word)


def test_training_starts_from_any_model() -> None:
    model = SwAV("resnet18", width=8, hidden_dim=32, embedding_dim=16, prototypes=7)
    told = start_from(model, OFFICIAL)
    assert told == "120 of 120 backbone tensors, projection head 9 of 9, prototypes begin anew"
    assert torch.equal(model.conv1.weight, load_model(OFFICIAL).network.conv1.weight)
    with pytest.raises(UserError, match=r"of 120 backbone tensors fit.*first that does not: conv1.weight, \(4, 3, 7"):
        start_from(SwAV("resnet18", width=4, hidden_dim=8, embedding_dim=8, prototypes=7), OFFICIAL)


def test_a_home_folder_that_the_shell_left_is_found(monkeypatch: pytest.MonkeyPatch, empty_folder: Path) -> None:
    run_of_ours("a")
    monkeypatch.setenv("HOME", str(empty_folder))
    assert load("~/runs/a").model.about.source == "tiny"
    assert describe_model("~/runs/a")["source"] == "tiny"
    assert run_of("~/runs/a") == RunFolder(empty_folder / "runs" / "a")


@pytest.mark.parametrize(
    "name", ["x" * 300, "x" * 300 + ".pth", "runs/" + "x" * 300, "x" * 300 + "/model.pth", "a/" * 3000]
)
def test_a_name_of_any_length_is_no_model(name: str) -> None:
    for ask in (load, describe_model, lambda name: export(name, ExportRequest("safetensors"))):
        with pytest.raises(UserError, match=r"no such|no published model"):
            ask(name)
    assert run_of(name) is None


@pytest.mark.parametrize("key", ["conv1.weight", "bn1.running_mean", "prototypes.weight"])
def test_weights_that_are_not_finite_are_told(key: str) -> None:
    run_of_ours("a")
    found = load_model("runs/a")
    model, described = found.network, found.about
    model.state_dict()[key].view(-1)[0] = float("nan")
    save_model(Path("runs/a/model.safetensors"), Model(model, described))
    for source in ("runs/a", None):
        told: list[str] = []
        load_model(source, notice=told.append)
        assert len([line for line in told if f"not finite, first {key}" in line]) == 1

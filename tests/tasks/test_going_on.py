"""A stopped run goes on with its pictures, wherever they lie and however their place is written, and with no others."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.backends import cudnn

from swav_cli.core.weights import weights_digest
from swav_cli.data.folders.path_table import PathTable
from swav_cli.data.pictures import digest
from swav_cli.errors import Interrupted, UserError
from swav_cli.recipe.classifier_schema import FinetuneRecipe, LinearRecipe
from swav_cli.recipe.file import dump_recipe, read_recipe
from swav_cli.recipe.schema import Recipe
from swav_cli.report.console import Screen
from swav_cli.run.checkpoint import load_checkpoint, save_checkpoint
from swav_cli.run.folder import RunFolder
from swav_cli.run.metrics import Step
from swav_cli.tasks.classifier import train_classifier
from swav_cli.tasks.pretrain import pretrain, settle
from swav_cli.zoo.load import load_model
from tests.conftest import classifier_recipe, tiny_recipe
from tests.data.tars import make_tar, png

BLIND = ("data.val=null", "loss.queue.length=0", "training.epochs=2", "checkpoint.every_minutes=1000")


class Watching(Screen):
    """Notes what is said, and sends the run a signal after so many steps."""

    def __init__(self, steps: int | None = None) -> None:
        super().__init__()
        self.steps, self.said = steps, list[str]()

    def notice(self, text: str) -> None:
        self.said.append(text)

    def step(self, step: Step) -> None:
        if step.number == self.steps:
            os.kill(os.getpid(), signal.SIGUSR1)


def of(photos: object, *more: str) -> Recipe:
    return tiny_recipe(*BLIND, f"data.train={photos}", *more)


def begun(recipe: Recipe, steps: int = 4) -> None:
    with pytest.raises(Interrupted):
        pretrain(recipe, "run", device="cpu", screen=Watching(steps))
    assert load_checkpoint(RunFolder(Path("run")).last)["step"] == steps


def goes_on(recipe: Recipe) -> list[str]:
    """What is said; the run is stopped again after a step."""
    step = load_checkpoint(RunFolder(Path("run")).last)["step"]
    screen = Watching(step + 1)
    with pytest.raises(Interrupted):
        pretrain(recipe, "run", device="cpu", screen=screen)
    assert any(line.startswith(f"going on at step {step} of") for line in screen.said), screen.said
    return screen.said


@pytest.fixture
def here(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(photos.parent)
    return photos.parent


@pytest.mark.parametrize(
    "written", ["./photos", "photos/", lambda here: here / "photos", lambda here: Path("..", here.name, "photos")]
)
def test_the_place_may_be_written_otherwise(written: Any, here: Path) -> None:
    begun(of("photos"))
    goes_on(of(written(here) if callable(written) else written))


def test_pictures_that_were_moved_and_the_recipe_that_tells_where(here: Path) -> None:
    begun(of("photos"))
    (here / "photos").rename(here / "elsewhere")
    said = goes_on(of("elsewhere"))
    assert "data.train: photos -> elsewhere, from here on" in said
    kept = read_recipe(here / "run" / "recipe.yaml")
    assert kept.data.train == "elsewhere"
    goes_on(kept)  # type: ignore[arg-type]


def in_a_list(here: Path, root: Path) -> str:
    names = sorted((here / "photos").rglob("*.png"))
    text = "".join(f"{root / name.relative_to(here / 'photos')}\n" for name in names)
    (here / "list.txt").write_text(text)
    return "list.txt"


def test_a_list_of_pictures_that_were_moved(here: Path) -> None:
    begun(of(in_a_list(here, here / "photos")))
    names = in_a_list(here, here / "elsewhere")
    (here / "photos").rename(here / "elsewhere")
    (here / names).rename(here / "moved.txt")
    goes_on(of("moved.txt"))


@pytest.mark.parametrize("before", ["list.txt", "table.csv", "lists/names.txt"])
def test_a_list_and_a_folder_of_the_same_pictures(before: str, here: Path) -> None:
    """Names in a list begin at its own folder, wherever that lies."""
    names = [path.relative_to(here) for path in sorted((here / "photos").rglob("*.png"))]
    (here / "lists").mkdir()
    (here / "list.txt").write_text("".join(f"{name}\n" for name in names))
    (here / "table.csv").write_text("".join(f'"{name}",1\n' for name in names))
    (here / "lists" / "names.txt").write_text("".join(f"../{name}\n" for name in names))
    begun(of(before))
    goes_on(of("photos"))
    goes_on(of(here / before))
    (here / "list.txt").write_text("".join(f"{name}\n" for name in names[::-1]))
    with pytest.raises(UserError, match="holds a run with another recipe"):
        pretrain(of("list.txt"), "run", device="cpu")


def test_shards_with_other_names(here: Path) -> None:
    levels = range(10, 42)
    make_tar(here / "a.tar", {f"{level}.png": png(level) for level in levels})
    make_tar(here / "other.tar", {f"{level}.png": png(level + 100) for level in levels})
    begun(of("a.tar"))
    with pytest.raises(UserError, match="holds a run with another recipe"):
        pretrain(of("other.tar"), "run", device="cpu")
    (here / "a.tar").rename(here / "b.tar")
    goes_on(of("b.tar"))


@pytest.mark.parametrize(("root", "noted"), [("photos/", "photos/"), ("/photos/", "/")])
def test_a_run_that_noted_more_of_each_name(root: str, noted: str, here: Path) -> None:
    """All of names in a list; of those from the root what stands behind their common folder, with its slash."""
    names = [str(path.relative_to(here / "photos")) for path in sorted((here / "photos").rglob("*.png"))]
    in_a_list(here, here / "photos" if root.startswith("/") else Path("photos"))
    begun(of("list.txt"))
    state = load_checkpoint(RunFolder(Path("run")).last)
    state["fingerprint"] = digest([PathTable([noted + name for name in names]).digest()])
    save_checkpoint(RunFolder(Path("run")), state)
    goes_on(of("list.txt"))


def test_a_run_on_a_list_of_whole_paths_from_before_contents_were_looked_at(here: Path) -> None:
    """Its fingerprint is of all of each path, and its checkpoint says nothing of contents."""
    begun(of(in_a_list(here, here / "photos")))
    state = load_checkpoint(RunFolder(Path("run")).last)
    del state["contents"]
    state["fingerprint"] = digest([PathTable((here / "list.txt").read_text().splitlines()).digest()])
    save_checkpoint(RunFolder(Path("run")), state)
    goes_on(of("list.txt"))
    goes_on(of("list.txt"))


def other_pictures(here: Path) -> Path:
    """A folder with the same names and nothing else in common."""
    shutil.copytree(here / "photos", here / "others")
    for number, path in enumerate(sorted((here / "others").rglob("*.png"))):
        Image.fromarray(np.full((24, 24, 3), number, np.uint8)).save(path)
    return here / "others"


def one_less(here: Path) -> Path:
    shutil.copytree(here / "photos", here / "others")
    next((here / "others").rglob("*.png")).unlink()
    return here / "others"


@pytest.mark.parametrize("make", [other_pictures, one_less])
def test_other_pictures_are_refused(make: Callable[[Path], Path], here: Path) -> None:
    begun(of("photos"))
    before = (here / "run" / "recipe.yaml").read_text()
    make(here)
    with pytest.raises(UserError, match=r"run holds a run with another recipe:\n  data.train: photos -> others\n"):
        pretrain(of("others"), "run", device="cpu")
    shutil.rmtree(here / "photos")
    (here / "others").rename(here / "photos")  # even where they lie at the same place
    with pytest.raises(UserError, match="the pictures of photos are not what the run was trained on, or have changed"):
        pretrain(of("photos"), "run", device="cpu")
    assert (here / "run" / "recipe.yaml").read_text() == before


def test_a_picture_may_be_mended_meanwhile(here: Path) -> None:
    broken = here / "photos" / "plain" / "00.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:60])
    begun(of("photos", "data.max_bad=1"))
    broken.write_bytes(whole)
    goes_on(of("photos"))


def test_pictures_that_judge_are_free_to_change(here: Path) -> None:
    begun(of("photos"))
    goes_on(of("photos", "data.val=shapes:40", "data.bank=shapes:40"))


def test_compiling_is_free_to_change(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with a compiler or without; and auto goes on with what was compiled, as it is."""
    compiled: list[object] = []

    def note(function: Any, **_: object) -> Any:
        compiled.append(function)
        return function

    monkeypatch.setattr("swav_cli.core.compiling.what_compiling_lacks", lambda device: None)
    monkeypatch.setattr("torch.compile", note)
    begun(of("photos", "training.compile=false"))
    assert compiled == []
    goes_on(of("photos", "training.compile=true"))
    assert len(compiled) == 2  # the network, and what changes colours
    goes_on(of("photos", "training.compile=auto"))
    assert len(compiled) == 2
    assert read_recipe(RunFolder(Path("run")).recipe).training.compile is False


def test_a_finished_run_is_that_of_its_pictures(here: Path) -> None:
    results = pretrain(of("photos"), "run", device="cpu")
    assert pretrain(of("./photos"), "run", device="cpu")["loss"] == results["loss"]
    other_pictures(here)
    for other in (of("others"), of("photos", "data.val=others")):
        with pytest.raises(UserError, match="holds a run with another recipe"):
            pretrain(other, "run", device="cpu")


def test_a_finished_run_that_may_only_be_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As somebody else's; the system is made to say no, since a container's superuser may write everywhere."""
    results = pretrain(of("photos"), "run", device="cpu")
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and access(path, mode))
    screen = Watching()
    assert pretrain(of("photos"), "run", device="cpu", screen=screen) == results
    assert screen.said == ["run is finished; run it again with --overwrite, or elsewhere with --out"]
    for place, more in (("run", {"overwrite": True}), ("another", {})):
        with pytest.raises(UserError, match=f"--out {place}: can't be written below"):
            pretrain(of("photos"), place, device="cpu", **more)  # type: ignore[arg-type]


def test_the_micro_batch_of_a_run_that_reads_from_a_command_goes_on(here: Path) -> None:
    """Its recipe is only looked at, and starts nothing."""
    (here / "run").mkdir()
    text = dump_recipe(of("photos", "training.accumulate=2")).replace("train: photos", "train: 'pipe:touch gone'")
    text = text.replace("stream_pictures: null", "stream_pictures: 40")
    (here / "run" / "recipe.yaml").write_text(text)
    found = settle(of("photos"), "cpu", "auto", here / "run")
    assert found.recipe.training.accumulate == 2
    assert not (here / "gone").exists()


@pytest.mark.parametrize("schema", [LinearRecipe, FinetuneRecipe])
def test_a_classifier_whose_model_and_pictures_were_moved(
    schema: type[LinearRecipe] | type[FinetuneRecipe], here: Path
) -> None:
    pretrain(of("photos", "training.epochs=1"), "before/model", device="cpu")
    shutil.copytree(here / "photos", here / "val")
    (here / "list.txt").write_text("".join(f"{path.name}\n" for path in (here / "photos").rglob("*.png")))

    def recipe(model: str, train: str, val: str, names: str) -> Any:
        return classifier_recipe(
            schema, f"model={model}", f"data.train={train}", f"data.val={val}", f"data.labels={names}"
        )

    with pytest.raises(Interrupted):
        train_classifier(recipe("before/model", "photos", "val", "list.txt"), "run", device="cpu", screen=Watching(3))
    for old, new in (("before", "after"), ("photos", "pictures"), ("val", "test"), ("list.txt", "names.txt")):
        (here / old).rename(here / new)
    moved = recipe("./after/model/", "pictures", "test", "names.txt")
    screen = Watching(5)
    with pytest.raises(Interrupted):
        train_classifier(moved, "run", device="cpu", screen=screen)
    assert "going on at step 3 of 10" in screen.said
    assert {"model: before/model -> ./after/model/, from here on", "data.val: val -> test, from here on"} <= set(
        screen.said
    )
    pretrain(of("pictures", "training.seed=5", "training.epochs=1"), "another", device="cpu")
    with pytest.raises(UserError, match=r"another recipe:\n  model: \./after/model/ -> another\n"):
        train_classifier(recipe("another", "pictures", "test", "names.txt"), "run", device="cpu")


@pytest.mark.parametrize("schema", [LinearRecipe, FinetuneRecipe])
def test_a_classifier_does_not_go_on_with_other_labels(
    schema: type[LinearRecipe] | type[FinetuneRecipe], here: Path
) -> None:
    pretrain(of("photos", "training.epochs=1"), "model", device="cpu")
    names = sorted(str(path.relative_to(here)) for path in (here / "photos").rglob("*.png"))

    def label(classes: str) -> None:
        rows = [f"{name},{classes[number % 2]}\n" for number, name in enumerate(names)]
        (here / "table.csv").write_text("path,label\n" + "".join(rows))

    recipe = classifier_recipe(schema, "model=model", "data.train=table.csv", "data.val=photos.csv")
    label("ab")
    shutil.copy("table.csv", "photos.csv")
    with pytest.raises(Interrupted):
        train_classifier(recipe, "run", device="cpu", screen=Watching(3))
    label("ba")
    with pytest.raises(UserError, match="the pictures or their labels are not what the run was trained on"):
        train_classifier(recipe, "run", device="cpu")
    label("ab")
    noted = digest([PathTable(names).digest()])  # by earlier versions, which told a list's names by all of each
    loaded = load_model("model")
    state = load_checkpoint(RunFolder(Path("run")).last)
    state["fingerprint"] = digest([f"{noted} {noted} {weights_digest(loaded)}"])
    save_checkpoint(RunFolder(Path("run")), state)
    with pytest.raises(Interrupted):
        train_classifier(recipe, "run", device="cpu", screen=Watching(5))


@pytest.mark.parametrize("before", [False, True])
def test_how_convolutions_are_chosen_stays_as_it_was(before: bool, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cudnn, "benchmark", before)
    within = []

    class Looking(Watching):
        def step(self, step: Step) -> None:
            within.append(cudnn.benchmark)
            super().step(step)

    with pytest.raises(Interrupted):
        pretrain(of("photos"), "run", device="cpu", screen=Looking(1))
    assert within == [True]
    assert cudnn.benchmark is before

"""Recipes on disk: found, read, overridden, written and compared; and what is said about mistakes in them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from swav_cli.errors import UserError
from swav_cli.recipe import file
from swav_cli.recipe.classifier_schema import FinetuneRecipe, LinearRecipe
from swav_cli.recipe.file import (
    apply_override,
    differences,
    dump_recipe,
    find_recipe,
    load_as,
    load_recipe,
    parse_recipe,
    read_recipe,
    read_yaml,
    renamed,
    shipped_recipes,
)
from swav_cli.recipe.words import keys_of
from tests.conftest import TINY, classifier_recipe, tiny_recipe


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_recipe(path, list(overrides))
    return str(caught.value)


# --- found -------------------------------------------------------------------------------------------------------


def test_a_file_is_found_before_a_shipped_recipe_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe("cifar10") == shipped_recipes()["cifar10"]
    write(tmp_path, "", "cifar10")
    assert find_recipe("cifar10") == Path("cifar10")


@pytest.mark.parametrize("name", ["recipes/quickstart.yaml", "quickstart.yaml", "recipes/quickstart.yml", "quickstart"])
def test_the_readmes_way_of_writing_works_anywhere(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe(name) == shipped_recipes()["quickstart"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("quikstart", "quickstart"),
        ("CIFAR10", "cifar10"),
        ("in1k200e", "in1k-200e"),
        ("recipes/smal-folder.yaml", "small-folder"),
        ("elsewhere/cifar1.yaml", "cifar10"),
    ],
)
def test_a_misspelt_name_gets_the_nearest(word: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"no recipe '{word}'. Did you mean '{meant}'. See them with: swav recipes"):
        find_recipe(word)


@pytest.mark.parametrize("word", ["", "zzz", "x" * 5000, "a\0b", "no/such/folder/of/mine.yaml"])
def test_what_is_no_recipe_at_all(word: str) -> None:
    with pytest.raises(UserError, match="no recipe"):
        find_recipe(word)


def test_inside_a_wheel_recipes_lie_in_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "swav_cli"
    (package / "recipes").mkdir(parents=True)
    write(package / "recipes", "", "inside.yaml")
    monkeypatch.setattr(file, "__file__", str(package / "core" / "file.py"))
    assert list(shipped_recipes()) == ["inside"]
    (package / "recipes" / "inside.yaml").unlink()
    (package / "recipes").rmdir()
    assert shipped_recipes() == {}


# --- read --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nmodel: {width: 64\ndata: 1\n", ", line 3: not valid YAML"),
        ("name: x\n\tmodel: 1\n", ", line 2: not valid YAML"),
        ("name: x\nloss:\n  epsilon: 0.1\n  epsilon: 0.2\n", ", line 4: not valid YAML ('epsilon' stands twice)"),
        ("name: x\n---\nname: y\n", ", line 2: not valid YAML"),
        ("name: !!int x\n", ": not valid YAML"),
        ("name: x\x07\n", ": not valid YAML"),
        ("[" * 3000, ": not valid YAML (nested too deeply)"),
        ("- a\n- b\n", ": a recipe is a mapping of keys to values; this is a list"),
        ("quickstart", ": a recipe is a mapping of keys to values; this is a str"),
        ("", ": a recipe is a mapping of keys to values; it is empty"),
    ],
)
def test_a_fault_in_the_yaml_is_one_line_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path}{said}")
    assert "\n" not in str(caught.value)


def test_a_picture_is_no_recipe(photos: Path) -> None:
    picture = next(photos.rglob("*.png"))
    with pytest.raises(UserError, match="not a text file in UTF-8, so not a recipe"):
        read_yaml(picture)


@pytest.mark.parametrize(
    "text",
    [
        "name: !!python/object/apply:os.system ['touch {proof}']\n",
        "!!python/object/new:os.system ['touch {proof}']\n",
        "name: !!python/name:os.system\n",
    ],
)
def test_a_recipe_that_runs_code_is_refused(text: str, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    path = write(tmp_path, text.replace("{proof}", str(proof)))
    with pytest.raises(UserError, match="line 1: not valid YAML"):
        read_yaml(path)
    with pytest.raises(UserError, match="not a YAML value"):
        apply_override({}, f"loss.epsilon=!!python/object/apply:os.system ['touch {proof}']")
    assert not proof.exists()


def test_numbers_and_words_are_what_they_look_like(tmp_path: Path) -> None:
    text = "a: 1e-6\nb: 1E3\nc: 010\nd: no\ne: 1:30\nf: 2024-01-02\ng: true\nh: ~\ni: -.5\nj: '1e3'\nk: 5\nl:\nm: on\n"
    assert read_yaml(write(tmp_path, text)) == {
        "a": 1e-6, "b": 1000.0, "c": 10, "d": "no", "e": "1:30", "f": "2024-01-02", "g": True, "h": None, "i": -0.5,
        "j": "1e3", "k": 5, "l": None, "m": "on",
    }  # fmt: skip


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: x\n", encoding="utf-8-sig")
    assert read_yaml(tmp_path / "mine.yaml") == {"name": "x"}


# --- mistakes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("los.epsilon=1", "unknown key 'los'. Did you mean 'loss'?"),
        ("loss.epsilonn=1", "unknown key 'loss.epsilonn'. Did you mean 'epsilon'?"),
        ("loss.queue.lenght=1", "unknown key 'loss.queue.lenght'. Did you mean 'length'?"),
        ("crops.1.scal=1", "unknown key 'crops.1.scal'. Did you mean 'scale'?"),
        ("epsilon=1", "unknown key 'epsilon'. It belongs at 'loss.epsilon'"),
        ("model.sinkhorn_iterations=1", "'model.sinkhorn_iterations'. It belongs at 'loss.sinkhorn_iterations'"),
        ("checkpoint.zzz=1", "unknown key 'checkpoint.zzz'. Known here: every_minutes, keep_epochs"),
        ("0=1", "unknown key '0'. Known here: name, reference, objective, model"),
    ],
)  # fmt: skip
def test_an_unknown_key_gets_the_nearest_at_its_level(override: str, said: str, tiny_file: Path) -> None:
    message = refusal(tiny_file, override)
    assert message.startswith(f"{tiny_file} and the options: ")
    assert said in message
    assert "\n" not in message


def test_a_key_that_is_no_word(tmp_path: Path) -> None:
    path = write(tmp_path, yaml.safe_dump({**TINY, 5: 1}))
    assert "unknown key '5'" in refusal(path)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    content: dict[str, Any] = copy.deepcopy(TINY)
    del content["optimizer"]["lr"]
    del content["crops"][1]["size"]
    content["crops"][0]["scale"] = [0.5, "all"]
    content["model"]["prototypes"] = 0
    content["model"]["widht"] = 64
    content["extra"] = {"deep": 1}
    lines = refusal(write(tmp_path, yaml.safe_dump(content))).splitlines()
    assert len(lines) == 6
    told = "\n".join(lines)
    for part in (
        "unknown key 'extra'",
        "unknown key 'model.widht'. Did you mean 'width'?",
        "model.prototypes = 0: should be a whole number from 1, or auto",
        "crops.0.scale = [0.5, 'all']: should be a list of 2 numbers above 0",
        "crops.1.size is missing: a whole number from 4 (height and width, pixels)",
        "optimizer.lr is missing: a number above 0, or auto (learning rate per 256 pictures;",
    ):
        assert part in told


def test_a_long_value_is_shown_in_short(tiny_file: Path) -> None:
    assert len(refusal(tiny_file, "loss.epsilon=" + "x" * 10_000)) < 400


def test_a_mapping_that_holds_itself(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "name: x\nmodel: &loop\n  backbone: *loop\n"))
    assert "model.backbone = " in message


# --- overrides ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("loss.epsilon=0.03", ["loss", "epsilon"], 0.03),
        ("loss.epsilon = 0.03 ", ["loss", "epsilon"], 0.03),
        ("optimizer.weight_decay=1e-6", ["optimizer", "weight_decay"], 1e-6),
        ("optimizer.weight_decay=1E-6", ["optimizer", "weight_decay"], 1e-6),
        ("training.epochs=auto", ["training", "epochs"], "auto"),
        ("training.compile=true", ["training", "compile"], True),
        ("data.limit=null", ["data", "limit"], None),
        ("data.val=null", ["data", "val"], None),
        ("data.val=", ["data", "val"], None),
        ("data.mean=[0.1, 0.2, 3e-1]", ["data", "mean"], [0.1, 0.2, 0.3]),
        ("crops.0.size=64", ["crops", 0, "size"], 64),
        ("crops.1.scale=[0.1, 0.2]", ["crops", 1, "scale"], [0.1, 0.2]),
        ("crops.1={count: 4, size: 8, scale: [0.1, 1]}", ["crops", 1], {"count": 4, "size": 8, "scale": [0.1, 1]}),
        ("loss.queue={length: 8}", ["loss", "queue"], {"length": 8}),
        ("data.train=2020", ["data", "train"], "2020"),
        ("data.train=yes", ["data", "train"], "yes"),
        ("data.train=null", ["data", "train"], "null"),
        ("data.train=a=b", ["data", "train"], "a=b"),
        ("data.train=C:\\new photos #1: best", ["data", "train"], "C:\\new photos #1: best"),
        ('data.train="photos/ä\\ud83d\\ude00"', ["data", "train"], "photos/ä\N{GRINNING FACE}"),
        ("data.train='it''s'", ["data", "train"], "it's"),
        ("name=1e3", ["name"], "1e3"),
        ("reference=72.1", ["reference"], "72.1"),
    ],
)
def test_an_override_is_read_as_the_key_asks(assignment: str, path: list[str | int], value: object) -> None:
    content: Any = copy.deepcopy(TINY)
    apply_override(content, assignment)
    for step in path:
        content = content[step]
    assert content == value
    assert type(content) is type(value)


def test_an_override_may_name_what_the_file_leaves_out() -> None:
    assert tiny_recipe("checkpoint.keep_epochs=5").checkpoint.keep_epochs == 5
    assert tiny_recipe("loss={queue: null}", "loss.queue.length=8", "loss.queue.start_epoch=1").loss.queue.length == 8


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("loss.epsilon", "write it as key=value"),
        ("", "write it as key=value"),
        ("=5", "write it as key=value"),
        ("loss..epsilon=5", "write it as key=value"),
        ("loss.epsilon=", "no value after '='"),
        ("loss.epsilon=[1", "'[1' is not a YAML value"),
        ("data.train='open", "''open' is not a YAML value"),
        ("loss.epsilon=" + "[" * 3000, "nested too deeply"),
        ("loss.epsilon.deeper=1", "'loss.epsilon' holds one value"),
        ("loss.epsilon.deeper.still=1", "nothing lies below 'deeper'"),
        ("crops.2.size=1", "'2' is not a position in a list of 2, from 0"),
        ("crops.-1.size=1", "'-1' is not a position in a list of 2, from 0"),
        ("crops.first.size=1", "'first' is not a position in a list of 2, from 0"),
        ("crops.2={}", "'2' is not a position in a list of 2, from 0"),
    ],
)
def test_an_override_that_can_not_be_meant(assignment: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        apply_override(copy.deepcopy(TINY), assignment)
    assert str(caught.value).startswith(f"--set {assignment}")
    assert said in str(caught.value)


def test_of_two_overrides_the_last_counts(tiny_file: Path) -> None:
    assert load_recipe(tiny_file, ["loss.epsilon=0.1", "loss.epsilon=0.2"]).loss.epsilon == 0.2


# --- written and compared ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_a_recipe_survives_being_written_and_read(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(shipped_recipes()[name])
    assert read_recipe(write(tmp_path, dump_recipe(recipe))) == recipe


def test_a_recipe_of_another_kind_is_refused_in_one_line() -> None:
    with pytest.raises(
        UserError, match=r"linear-in1k\.yaml: is a recipe for `swav linear-eval`, not for `swav pretrain`"
    ):
        load_recipe("linear-in1k")
    with pytest.raises(UserError, match=r"quickstart\.yaml: is a recipe for `swav pretrain`, not for `swav finetune`"):
        load_as(FinetuneRecipe, "quickstart")


def test_mistakes_in_a_recipe_of_a_classifier() -> None:
    overrides = ["optimizer.rate=1", "cached.holdout=0.9", "training.epochs=0"]
    with pytest.raises(UserError) as caught:
        load_as(LinearRecipe, "linear-small", overrides)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "cached.holdout = 0.9: should be a number above 0 to 0.5" in str(caught.value)
    assert "unknown key 'optimizer.rate'" in str(caught.value)
    with pytest.raises(UserError, match=r"schedule.drop_epochs \(40\) is not within training.epochs \(30\)"):
        load_as(FinetuneRecipe, "finetune-small", ["schedule.drop_epochs=[10, 40]"])


@pytest.mark.parametrize(
    "word", ["1e3", "010", "yes", "null", "~", "2024-01-02", "1:30", "a: b", "- x", "'", "é\u2028", "true"]
)
def test_any_word_survives_being_written_and_read(word: str, tmp_path: Path) -> None:
    recipe = parse_recipe(TINY | {"data": {**TINY["data"], "train": word}, "reference": word}, "tiny")  # type: ignore[dict-item]
    assert load_recipe(write(tmp_path, dump_recipe(recipe))) == recipe


def test_a_written_recipe_holds_every_value() -> None:
    written = yaml.safe_load(dump_recipe(tiny_recipe()))
    for key in keys_of():
        place = written
        for step in key.name.split("."):
            place = place[int(step) if step.isdigit() else step]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("loss.epsilon=0.03", "loss.epsilon: 0.05 -> 0.03"),
        ("crops.1.size=12", "crops.1.size: 8 -> 12"),
        ("data.mean=[0.4, 0.5, 0.5]", "data.mean: [0.5, 0.5, 0.5] -> [0.4, 0.5, 0.5]"),
        ("training.sync_batchnorm=true", "training.sync_batchnorm: False -> True"),
        ("loss.queue.length=16", "loss.queue.length: 32 -> 16"),
    ],
)
def test_differences_name_key_and_values(override: str, line: str) -> None:
    assert differences(tiny_recipe(), tiny_recipe(override)) == [line]


def test_a_crop_more_or_less_is_a_difference() -> None:
    fewer = tiny_recipe("crops=[{count: 2, size: 16, scale: [0.4, 1], assign: true}]")
    assert "crops.1.count: 1 -> None" in differences(tiny_recipe(), fewer)
    assert "crops.1.count: None -> 1" in differences(fewer, tiny_recipe())


@pytest.mark.parametrize(
    "override",
    [
        "reference=x", "data.cache=false", "data.max_bad=0.5", "training.workers=3", "training.log_every=7",
        "data.cache=device", "checkpoint.every_minutes=1", "checkpoint.keep_epochs=1", "training.compile=true",
        "training.checkpoint_activations=true", "data.train=./photos",
        "data.val=null", "data.bank=photos",
    ],
)  # fmt: skip
def test_what_does_not_change_the_result_is_no_difference(override: str) -> None:
    assert tiny_recipe() != tiny_recipe(override)
    assert differences(tiny_recipe(), tiny_recipe(override)) == []


def test_names_of_files_are_told_and_no_difference() -> None:
    """Whether they are the same files is for their contents to tell."""
    after = tiny_recipe("data.train=photos", "data.bank=photos", "loss.epsilon=0.03")
    assert renamed(tiny_recipe(), after) == ["data.train: shapes:48 -> photos", "data.bank: None -> photos"]
    assert differences(tiny_recipe(), after) == ["loss.epsilon: 0.05 -> 0.03"]


@pytest.mark.parametrize(
    ("labels", "file"), [("all", False), ("10%", False), ("2.5 %", False), ("3", False), ("x.txt", True)]
)
def test_labels_may_be_a_file(labels: str, file: bool) -> None:
    before = classifier_recipe(LinearRecipe, "data.labels=list.txt")
    after = classifier_recipe(LinearRecipe, f"data.labels={labels}")
    assert renamed(before, after) == ([f"data.labels: list.txt -> {labels}"] if file else [])
    assert differences(before, after) == ([] if file else [f"data.labels: list.txt -> {labels}"])


# --- keys in words -----------------------------------------------------------------------------------------------


def test_every_key_is_explained() -> None:
    keys = {key.name: key for key in keys_of()}
    assert all(key.kind and key.description for key in keys.values())
    assert not [key for key in keys.values() if "<" in key.kind or "typing" in key.kind]
    assert keys["loss.epsilon"][1:] == ("a number from 0.01", "0.05", "of Sinkhorn; smaller makes codes sharper")
    assert keys["crops.0.scale"].kind == "a list of 2 numbers above 0"
    assert keys["optimizer.lr"].default == "required"
    assert keys["data.val"].kind == "text, or null"


def test_a_tilde_before_a_recipes_file_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text(dump_recipe(tiny_recipe()))
    assert find_recipe("~/mine.yaml") == tmp_path / "mine.yaml"
    assert load_recipe("~/mine.yaml") == tiny_recipe()

"""How pictures are fed to a foreign network, as its file or one beside it says: size, mean and std, names of classes.

Our own exports say all of it. timm and transformers keep it in `config.json` and `preprocessor_config.json` of a
folder, solo-learn names its data set in `args.json`, mmengine writes the whole configuration into its checkpoints.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from swav_cli.core.weights import CROP_PCT, LARGEST_SIZE, About

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SOLO_LEARN = {  # what its pipelines normalise by
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "stl10": ((0.4914, 0.4823, 0.4466), (0.247, 0.243, 0.261)),
    "imagenet100": IMAGENET,
    "imagenet": IMAGENET,
}
RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}  # Pillow's numbers
LARGEST_TEXT = 1 << 21  # of a file or a configuration that is looked into
Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Said:
    """What is said, and by whom; nothing where nobody says it."""

    size: int | None = None
    crop_pct: float | None = None
    mean: Numbers = ()
    std: Numbers = ()
    classes: tuple[str, ...] = ()
    by: str = ""  # the file, for messages
    notes: tuple[str, ...] = field(default=())


def files_beside(path: Path) -> dict[str, Any]:
    """What the files hold that other tools put beside their weights, by name."""
    names: tuple[str, ...] = ()
    if path.suffix in (".safetensors", ".bin"):
        names = ("config.json", "preprocessor_config.json")
    elif path.suffix in (".ckpt", ".pth", ".pt"):
        names = ("args.json",)
    found = {name: _json(path.with_name(name)) for name in names}
    return {name: content for name, content in found.items() if isinstance(content, dict)}


def said_of(content: Any, beside: Mapping[str, Any], layout: str) -> Said:
    """What a foreign checkpoint and the files beside it say."""
    config = beside.get("config.json", {})
    if "architecture" in config:
        return _by_timm(config)
    if "model_type" in config:
        return _by_transformers(config, beside.get("preprocessor_config.json", {}))
    if layout == "solo-learn":
        return _by_solo_learn(beside.get("args.json", {}))
    if not isinstance(content, Mapping):
        return Said()
    if "lightly_train" in content:
        return _by_lightly_train(content["lightly_train"])
    return _by_arguments(content["args"]) if isinstance(content.get("args"), Mapping) else _by_mmengine(content)


def fed(about: About, text: str, said: Said) -> tuple[About, str]:
    """How pictures are fed: as an export of ours describes it, as files say it, else as assumed; and that in words."""
    try:
        ours = About.from_json(text)
    except (ValueError, TypeError):
        return _as_said(about, said)
    classes = ours.classes if len(ours.classes) == len(about.classes) else about.classes
    stem = ours.stem if (ours.stem == "imagenet") == (about.stem == "imagenet") else about.stem
    fits = len(ours.mean) == about.channels
    about = replace(about, size=ours.size, crop_pct=ours.crop_pct, classes=classes, stem=stem, licence=ours.licence)
    return replace(about, mean=ours.mean, std=ours.std) if fits else about, "size and normalisation as the file says"


def _as_said(about: About, said: Said) -> tuple[About, str]:
    found: list[str] = []
    assumed: list[str] = []
    if said.size:
        about = replace(about, size=said.size)
    if said.crop_pct:
        about = replace(about, crop_pct=said.crop_pct)
    share = "" if about.crop_pct == CROP_PCT else f", {100 * about.crop_pct:g} % of the shorter side"
    (found if said.size else assumed).append(f"{about.size} pixels{share}")
    if said.mean and len(said.mean) == about.channels:
        about = replace(about, mean=said.mean, std=said.std)
        found.append(f"mean {_numbers(about.mean)}, std {_numbers(about.std)}")
    else:
        assumed.append(f"normalised by mean {_numbers(about.mean)}, std {_numbers(about.std)}")
    words = [f"{', '.join(found)}, as {said.by} says"] if found else []
    if assumed:
        words.append(f"assumed, as {'no file says it' if found else 'the file does not say'}: {', '.join(assumed)}")
    return about, "; ".join([*words, *said.notes])


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)


def class_names(given: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Those given, where there are as many; ImageNet's of a thousand; else numbers."""
    if len(given) == count:
        return given
    if count == 1000:
        return imagenet_classes()
    return tuple(str(number) for number in range(count))


def imagenet_classes() -> tuple[str, ...]:
    """ImageNet's classes in words, in their usual order, as torchvision names them."""
    from torchvision.models import ResNet50_Weights

    return tuple(ResNet50_Weights.IMAGENET1K_V2.meta["categories"])


def _by_timm(config: Mapping[str, Any]) -> Said:
    """What it is judged with: `test_input_size` and `test_crop_pct` go before those of training."""
    fed = config.get("pretrained_cfg")
    fed = fed if isinstance(fed, dict) else config
    mean, std = _normalisation(fed.get("mean"), fed.get("std"))
    sides = fed.get("test_input_size") or fed.get("input_size")
    size = _size(sides[-1]) if isinstance(sides, list) and sides else None
    share = _share(fed.get("test_crop_pct") or fed.get("crop_pct"))
    names = config.get("label_names") or fed.get("label_names")
    classes = _names(names) if isinstance(names, list) else ()
    notes = _otherwise("config.json", fed.get("interpolation"), fed.get("crop_mode"))
    return Said(size, share, mean, std, classes, "config.json", notes)


def _otherwise(by: str, interpolation: Any, crop: Any = None) -> tuple[str, ...]:
    """What is done here in one way whatever a file says, as its features move by it."""
    notes = []
    if isinstance(interpolation, str) and interpolation not in ("bilinear", ""):
        notes.append(f"pictures are resized by bilinear interpolation, and {by} says {interpolation}")
    if isinstance(crop, str) and crop not in ("center", ""):
        notes.append(f"the square in their middle is cut, and {by} says {crop}")
    return tuple(notes)


def _by_transformers(config: Mapping[str, Any], processor: Mapping[str, Any]) -> Said:
    mean, std = _normalisation(processor.get("image_mean"), processor.get("image_std"))
    size = next((found for key in ("crop_size", "size") if (found := _side(processor.get(key))) is not None), None)
    labels = config.get("id2label")
    classes: tuple[str, ...] = ()
    if isinstance(labels, dict) and all(key.isdigit() for key in labels):
        classes = _names([labels[key] for key in sorted(labels, key=int)])
    # transformers has two ways: a share of the shorter side, or the sides before and after a square is cut
    before, cut = _side(processor.get("size")), _side(processor.get("crop_size"))
    share = _share(processor.get("crop_pct")) or (_share(cut / before) if before and cut else None)
    number = processor.get("resample")
    method = RESAMPLING.get(number) if isinstance(number, int) else None
    by = "preprocessor_config.json"
    return Said(size, share, mean, std, classes, by if mean or size else "", _otherwise(by, method))


def _by_solo_learn(args: Mapping[str, Any]) -> Said:
    """Its arguments, dotted or nested by its version; a data set of one's own may have its own numbers."""
    data = args.get("data")
    dataset = (
        (data.get("dataset") if isinstance(data, dict) else None) or args.get("dataset") or args.get("data.dataset")
    )
    pipelines = args.get("augmentations")
    first = pipelines[0] if isinstance(pipelines, list) and pipelines and isinstance(pipelines[0], dict) else {}
    size = _size(first.get("crop_size") or args.get("crop_size"))
    own = _normalisation(first.get("mean"), first.get("std"))
    mean, std = SOLO_LEARN.get(str(dataset), own)
    return Said(size, None, mean, std, by=f"args.json ({dataset})" if mean else "args.json" if size else "")


def _by_lightly_train(said: Any) -> Said:
    arguments = said.get("normalize_args") if isinstance(said, Mapping) else None
    mean, std = (
        _normalisation(arguments.get("mean"), arguments.get("std")) if isinstance(arguments, Mapping) else ((), ())
    )
    return Said(mean=mean, std=std, by="its checkpoint (normalize_args)")


def _by_arguments(args: Mapping[Any, Any]) -> Said:
    """What was typed for a training script: timm's, where it is not left to the network, or torchvision's."""
    mean, std = _normalisation(args.get("mean"), args.get("std"))
    sides = args.get("input_size")
    size = _size(
        args.get("val_crop_size") or args.get("img_size") or (sides[-1] if isinstance(sides, list) and sides else 0)
    )
    resized = _size(args.get("val_resize_size"))
    share = _share(size / resized) if size and resized else _share(args.get("crop_pct"))
    return Said(size, share, mean, std, by="its checkpoint (args)")


def _by_mmengine(content: Mapping[Any, Any]) -> Said:
    """`data_preprocessor` of its configuration, a text of Python in `meta`; `img_norm_cfg` of mmcv's. Values to 255."""
    meta = content.get("meta")
    text = (meta.get("cfg") or meta.get("config")) if isinstance(meta, Mapping) else None
    if not isinstance(text, str) or len(text) > LARGEST_TEXT:
        return Said()
    for values in _settings(text):
        mean, std = _normalisation(values.get("mean"), values.get("std"))
        if mean and max(mean) > 1:
            mean, std = (tuple(round(number / 255, 6) for number in numbers) for numbers in (mean, std))
        if mean:
            turned = values.get("to_rgb") is False and values.get("bgr_to_rgb") is not True
            notes = (
                ("trained on colours in the order blue, green, red, and fed as red, green, blue here",)
                if turned
                else ()
            )
            return Said(None, None, mean, std, by="its configuration (meta.cfg)", notes=notes)
    return Said()


def _settings(text: str) -> Iterator[dict[str, Any]]:
    """Each `data_preprocessor` in a configuration's text, which is looked at and never run."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name: str | None = node.targets[0].id
        else:
            name = node.arg if isinstance(node, ast.keyword) else None
        value = getattr(node, "value", None)
        if name in ("data_preprocessor", "img_norm_cfg") and isinstance(value, ast.Call):
            yield {part.arg: _literal(part.value) for part in value.keywords if part.arg}


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return None


def _normalisation(mean: Any, std: Any) -> tuple[Numbers, Numbers]:
    """Both, or neither where one of them is none."""
    both = [tuple(float(number) for number in values) if _are_numbers(values) else () for values in (mean, std)]
    usable = len(both[0]) == len(both[1]) > 0 and min(both[1]) > 0
    return (both[0], both[1]) if usable else ((), ())


def _are_numbers(values: Any) -> bool:
    return isinstance(values, (list, tuple)) and all(
        isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number) for number in values
    )


def _share(said: Any) -> float | None:
    return float(said) if _are_numbers([said]) and 0.1 <= said <= 1 else None


def _side(said: Any) -> int | None:
    if isinstance(said, dict):
        said = said.get("shortest_edge") or said.get("height")
    return _size(said)


def _size(said: Any) -> int | None:
    return said if isinstance(said, int) and not isinstance(said, bool) and 0 < said <= LARGEST_SIZE else None


def _names(said: list[Any]) -> tuple[str, ...]:
    return tuple(said) if all(isinstance(name, str) for name in said) else ()


def _json(path: Path) -> Any:
    try:
        small = path.is_file() and path.stat().st_size <= LARGEST_TEXT
        return json.loads(path.read_text(encoding="utf-8")) if small else None
    except (OSError, ValueError, RecursionError):
        return None

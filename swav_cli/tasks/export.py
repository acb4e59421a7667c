"""A model for another library: written beside its place, loaded there, compared with ours, and only then moved."""

from __future__ import annotations

import copy
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swav_cli.core.weights import About, Model
from swav_cli.data.paths import expanded
from swav_cli.errors import Notice, UserError, silent
from swav_cli.exports import graph, weights
from swav_cli.exports.check import Difference, Reader, compare, takes_any_size
from swav_cli.exports.formats import PICKLES, ExportRequest, check_fits, check_installed, describe
from swav_cli.exports.lines import loading_lines, notices
from swav_cli.files import clear_left_behind, held, part_beside
from swav_cli.run.folder import RunFolder
from swav_cli.run.newest import newest_run
from swav_cli.writable import check_moved_place, check_place, check_utf8
from swav_cli.zoo.load import check_known, load_model

WRITERS: dict[str, Callable[[Path, Model, ExportRequest], None]] = {
    "onnx": graph.write_onnx,
    "torch-export": graph.write_torch_export,
    "safetensors": weights.write_safetensors,
    "torchvision": weights.write_torchvision,
    "timm": weights.write_timm,
    "mmpretrain": weights.write_mmpretrain,
    "official": weights.write_official,
}
READERS: dict[str, Callable[[Path, About, ExportRequest], Reader]] = {
    "onnx": lambda path, about, request: graph.read_onnx(path, request),
    "torch-export": lambda path, about, request: graph.read_torch_export(path, request),
    "safetensors": lambda path, about, request: weights.read_safetensors(path, about),
    "torchvision": lambda path, about, request: weights.read_torchvision(path, about),
    "timm": lambda path, about, request: weights.read_timm(path, about),
    "mmpretrain": lambda path, about, request: weights.read_mmpretrain(path, about),
    "official": lambda path, about, request: weights.read_official(path, about),
}
CHATTER = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "timm")


@dataclass(frozen=True)
class Exported:
    """A finished export.

    Args:
        path: the file, or timm's folder.
        differences: from our own answers, one for each batch and layer.
        lines: of Python, that load it.
        notices: what is worth knowing of it.
    """

    path: Path
    request: ExportRequest
    about: About
    differences: tuple[Difference, ...]
    lines: tuple[str, ...]
    notices: tuple[str, ...]

    @property
    def bytes(self) -> int:
        files = self.path.iterdir() if self.path.is_dir() else [self.path]
        return sum(file.stat().st_size for file in files)

    def to_json(self) -> dict[str, Any]:
        described = describe(self.about, self.request)
        del described["swav"]
        return {
            "file": str(self.path),
            "format": self.request.format,
            "bytes": self.bytes,
            "half": self.request.half,
            "static": self.request.static,
            "largest_difference": max(part.largest for part in self.differences),
            "largest_relative_difference": max(part.relative for part in self.differences),
            "differences": [
                {**part._asdict(), "shape": list(part.shape), "relative": part.relative} for part in self.differences
            ],
            "tolerance": self.request.tolerance,
            **described,
            "lines": list(self.lines),
            "notices": list(self.notices),
        }


def export(
    source: str | Path | None,
    request: ExportRequest,
    out: Path | None = None,
    overwrite: bool = False,
    notice: Notice = silent,
    linear: str | Path | None = None,
) -> Exported:
    """Export the model that `load_model` finds under a name, with the classifier of a file where one is named.

    >>> export("runs/quickstart", ExportRequest("safetensors")).path.name
    'quickstart.safetensors'

    Raises:
        UserError: no such model, nothing that the format holds, a place that is taken, or another answer than ours.
    """
    check_installed(request)
    source = source if source is not None else newest_run(notice)
    if source is not None:
        check_known(source)
    path = settle_path(source, request, out)
    check_free(path, request, overwrite)
    if source is not None:
        _check_other(expanded(source), path)
    return export_model(load_model(source, linear=linear, notice=notice), request, path, overwrite)


def export_model(model: Model, request: ExportRequest, out: Path, overwrite: bool = False) -> Exported:
    """The same for a model at hand, on the CPU.

    >>> from swav_cli.zoo.load import load_model
    >>> export_model(load_model("runs/quickstart"), ExportRequest("safetensors"), Path("model.safetensors")).path.name
    'model.safetensors'
    """
    check_installed(request)
    check_free(out, request, overwrite)
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    check_fits(request, model.about, parameters)
    about = model.about
    written = Model(copy.deepcopy(model.network).half(), about) if request.half else model
    with _stage(out, parameters * (2 if request.half else 4)) as stage:
        fresh = stage / out.name
        with _quiet():
            WRITERS[request.format](fresh, written, request)
            differences = compare(model, READERS[request.format](fresh, about, request), request)
        with held(out.parent):  # several files of one export, and of no other
            for made in sorted(stage.iterdir()):
                _move(made, out.with_name(made.name))
    lines = loading_lines(out, about, request)
    worth_knowing = notices(about, request, takes_any_size(model.network))
    return Exported(out, request, about, tuple(differences), tuple(lines), tuple(worth_knowing))


def settle_path(source: str | Path | None, request: ExportRequest, out: Path | None) -> Path:
    """Where the export goes: where the user says, else into `export` beside the model.

    Raises:
        UserError: a name that does not suit the format.
    """
    endings = request.kind.endings
    out = expanded(out) if out is not None else None
    if out is not None and not (os.path.isdir(out) and endings):
        if endings and out.suffix not in endings:
            raise UserError(f"--out {out}: a file of {request.format} ends in {' or '.join(endings)}")
        if not endings and os.path.isfile(out):
            raise UserError(f"--out {out}: {request.format} is a folder, and this is a file")
        return out
    given = expanded(source or "swav")
    folder = _run_of(given)
    if folder is not None:
        beside, name = folder / "export", folder.resolve().name
    elif given.exists():
        beside, name = given.parent / "export", _bare(given.name)
    else:  # a name of the zoo or a URL
        beside, name = Path("export"), _bare(given.name)
    if request.layer != "pooled":
        name += f"-{request.layer}"
    if request.preprocess:
        name += "-uint8"
    if request.half:
        name += "-half"
    if request.static:
        name += f"-batch{request.static}"
    return (out or beside) / f"{name}{request.kind.suffix}"


def _bare(name: str) -> str:
    """A file's name without the endings that weights have, or what follows a question mark in a URL.

    >>> _bare("swav_800ep_pretrain.pth.tar"), _bare("timm:resnet50.a1_in1k")
    ('swav_800ep_pretrain', 'resnet50.a1_in1k')
    """
    name = name.partition("?")[0].removeprefix("timm:")
    while Path(name).suffix in (*PICKLES, ".safetensors", ".pkl"):
        name = Path(name).stem
    return name


def _run_of(given: Path) -> Path | None:
    """The run's folder, where the model is one or lies in one."""
    for folder in (given, given.parent, given.parent.parent):
        if given.exists() and folder.is_dir() and RunFolder(folder).recipe.exists():
            return folder
    return given if given.is_dir() else None


def check_free(out: Path, request: ExportRequest, overwrite: bool) -> None:
    """
    Raises:
        UserError: something is there that is not to be replaced, or the folder can't be written.
    """
    beside = [out.with_suffix(".json")] if request.kind.is_bare else []
    check_utf8(out, "--out")
    for path in (out, *beside):
        check_moved_place(path, "--out")
        if os.path.exists(path) and not overwrite:
            raise UserError(f"{path} exists; replace it with --overwrite, or name another with --out")
    if request.format == "timm" and out.is_dir():
        others = sorted({entry.name for entry in out.iterdir()} - {"config.json", "model.safetensors"})
        if others:
            raise UserError(
                f"{out}: holds more than an export ({others[0]}), so it is not replaced; give another --out"
            )
    for path in (out, *beside):
        check_place(path, "--out", is_folder=request.format == "timm")


def _check_other(source: Path, out: Path) -> None:
    """
    Raises:
        UserError: the export would replace the model it is made from.
    """
    file = RunFolder(source).model if source.is_dir() else source
    if file.exists() and out.exists() and file.samefile(out):
        raise UserError(f"{out}: is the model itself; name another place with --out")


@contextmanager
def _stage(out: Path, size: int) -> Iterator[Path]:
    """A folder beside the export's place, gone afterwards with whatever is still in it; so are folders made for it."""
    made = [parent for parent in out.absolute().parents if not parent.exists()]
    # Named before it is made, so that no signal comes between its making and the knowledge of its name.
    stage = part_beside(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(out.parent).free
        if free < size * 1.1:
            raise UserError(f"{out}: takes {size / 1e6:.0f} MB, and the disk has {free / 1e6:.0f} MB left")
        clear_left_behind(out.parent, out.name)
        stage.mkdir()
        yield stage
    except OSError as error:
        raise UserError(f"{out}: can't be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        for folder in made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _move(made: Path, final: Path) -> None:
    """A folder can't be moved onto another: the old one goes into the stage, and back if the move fails."""
    if not (made.is_dir() and final.exists()):
        os.replace(made, final)
        return
    old = made.with_name("replaced")
    os.rename(final, old)
    try:
        os.rename(made, final)
    except BaseException:
        os.rename(old, final)
        raise


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what exporters say of their progress and of their own deprecated parts; errors are raised as ever."""
    loggers = [logging.getLogger(name) for name in CHATTER]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

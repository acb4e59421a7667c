"""One page of a run, of several side by side, or of a model: what `swav report` does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from swav_cli.core.environment import environment
from swav_cli.data.paths import expanded
from swav_cli.errors import Notice, UserError, counted, nearest, silent
from swav_cli.recipe.file import AnyRecipe
from swav_cli.recipe.normal import Courses, normal_courses
from swav_cli.recipe.schema import Recipe
from swav_cli.report.models import fact_words
from swav_cli.report.pages.page import check_page_place, check_pages, save_page
from swav_cli.report.pages.pictures import pixels_address
from swav_cli.report.pages.report import Content, Crops, report_page
from swav_cli.report.pages.subjects import read_subject
from swav_cli.report.sheet import crop_strips
from swav_cli.run.folder import RunFolder
from swav_cli.run.pictures import run_of, training_pictures
from swav_cli.tasks.clusters_page import sections_of
from swav_cli.tasks.models import describe_model
from swav_cli.tasks.pretrain_plan import preview_views
from swav_cli.tasks.watch import find_run
from swav_cli.writable import is_pipe_or_device
from swav_cli.zoo.load import check_known

NAME = "report.html"
MOST_RUNS = 8  # side by side; as many colours can be told apart


class Reported(NamedTuple):
    """Where a page is, and what it says first."""

    report: Path
    bytes: int
    runs: dict[str, str | None]  # the verdict on each; None where there is none


def write_report(
    names: Sequence[str | Path] = (),
    out: str | Path | None = None,
    *,
    overwrite: bool = False,
    notice: Notice = silent,
) -> Reported:
    """Write a page that tells all of a run: verdict, curves, results, crops, prototypes, recipe, environment.

    >>> write_report(["runs/quickstart"]).report
    PosixPath('runs/quickstart/report.html')

    Args:
        names: runs, or one model; the run that changed last where nothing is said. Several runs stand side by side.
        out: the page's file; in the run's folder, of several in the folder that they lie in, of a model beside it.
        overwrite: replace a file that is there, whatever it is; a page that swav has made is replaced anyhow.
        notice: told of what is worth knowing.

    Raises:
        UserError: no such run or model, or the page can't be written; nothing was.
    """
    check_pages()
    given = [str(name) for name in names] or [_newest(notice)]
    folders = _runs(given)
    place = expanded(out) if out is not None else _usual_place(given, folders)
    check_page_place(place, overwrite)
    content = _of_runs(folders, notice) if folders else _of_model(given[0], notice)
    save_page(place, report_page(content))
    size = 0 if is_pipe_or_device(place) else os.path.getsize(place)
    return Reported(place, size, {subject.name: subject.last.get("verdict") for subject in content.subjects})


def _newest(notice: Notice) -> str:
    found = find_run(None)
    notice(f"run: {found}")
    return str(found)


def _runs(given: list[str]) -> list[RunFolder]:
    """The runs that are meant; none where it is one model that belongs to no run.

    Raises:
        UserError: several are named, and one of them is no run.
    """
    found = [run_of(name) for name in given]
    if len(given) == 1:
        return [run for run in found if run is not None]
    if len(given) > MOST_RUNS:
        raise UserError(f"{counted(len(given), 'run')}: at most {MOST_RUNS} stand side by side; name fewer")
    for name, run in zip(given, found, strict=True):
        if run is None:
            there = os.path.exists(expanded(name))
            beside = [path.parent.name for path in expanded(name).parent.glob("*/recipe.yaml")] if not there else []
            raise UserError(
                f"{name}: is no run; several can only be runs, whose folders hold recipe.yaml"
                if there
                else f"{name}: no such run.{nearest(Path(name).name, beside)}"
            )
    kept = {run.path.resolve(): run for run in found if run is not None}
    return list(kept.values())


def _usual_place(given: list[str], folders: list[RunFolder]) -> Path:
    if len(folders) == 1:
        return folders[0].path / NAME
    if folders:
        above = {folder.path.resolve().parent for folder in folders}
        if len(above) > 1:
            raise UserError("these runs lie in different folders; say with --out where their report is to be")
        return folders[0].path.parent / NAME
    path = expanded(given[0])
    return path.with_name(f"{path.name}.{NAME}") if os.path.exists(path) else Path(f"{Path(given[0]).name}.{NAME}")


def _of_runs(folders: list[RunFolder], notice: Notice) -> Content:
    names = _names(folders)
    subjects = [read_subject(folder, name) for folder, name in zip(folders, names, strict=True)]
    crops = {subject.name: crops_of(subject.recipe) for subject in subjects if isinstance(subject.recipe, Recipe)}
    for name, found in crops.items():
        if found.missing:
            notice(f"{name}: {found.missing}")
    title = names[0] if len(names) == 1 else f"{counted(len(names), 'run')}: {', '.join(names)}"
    clusters = sections_of(folders[0].path) if len(folders) == 1 else None
    courses = _courses([subject.recipe for subject in subjects])
    about = environment(torch.device("cpu"))
    return Content(subjects, crops, environment=about, courses=courses, clusters=clusters, title=title)


def _courses(recipes: list[AnyRecipe]) -> Courses:
    """What is normal for runs that are all of one recipe."""
    names = {(each.name, each.data.train, each.objective) for each in recipes if isinstance(each, Recipe)}
    return normal_courses(*names.pop()) if len(names) == 1 else {}


def _names(folders: list[RunFolder]) -> list[str]:
    """The folders' own names; with what lies above where two are called alike."""
    names = [folder.path.resolve().name for folder in folders]
    if len(set(names)) == len(names):
        return names
    return [str(folder.path) for folder in folders]


def crops_of(recipe: Recipe) -> Crops:
    """Some pictures of a run as its network sees them, as far as they are still there."""
    try:
        views, mean, std = preview_views(recipe, training_pictures(recipe))
    except UserError as error:
        return Crops(missing=f"Its pictures can't be looked at any more: {error}")
    kinds = [
        f"{counted(crop.count, 'crop')} of {crop.size} pixels that {'shows' if crop.count == 1 else 'show'} "
        f"{crop.scale[0]:.0%} to {crop.scale[1]:.0%} of its area"
        for crop in recipe.crops
    ]
    return Crops([pixels_address(strip) for strip in crop_strips(views, mean, std)], ", ".join(kinds))


def _of_model(name: str, notice: Notice) -> Content:
    check_known(name)
    facts = describe_model(name, notice)
    told = {key: fact_words(key, value) for key, value in facts.items() if key != "contents" and value not in _NOTHING}
    return Content([], {}, told, environment=environment(torch.device("cpu")), title=Path(name).name)


_NOTHING: tuple[Any, ...] = (None, "", [], 0)

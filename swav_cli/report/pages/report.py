"""The page of one run, of several side by side, or of a model by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from swav_cli.recipe.normal import Courses
from swav_cli.report.pages.clusters import Sections
from swav_cli.report.pages.confusion import DRAWN, draw_confusion
from swav_cli.report.pages.curves import COLOURS, HEIGHT, draw_panel
from swav_cli.report.pages.headline import earlier_trouble, facts_of, headline_of, numbers_of, standing_of
from swav_cli.report.pages.page import made, render_page
from swav_cli.report.pages.panels import panels_of
from swav_cli.report.pages.pictures import file_address
from swav_cli.report.pages.recipes import recipe_rows
from swav_cli.report.pages.results import compared, tables_of
from swav_cli.report.pages.subjects import Subject, confusion_of

WIDEST = 1100  # pixels of a sheet in a page


class Crops(NamedTuple):
    """What a network sees of some pictures, or why that can't be shown."""

    strips: Sequence[str] = ()  # addresses, one a picture
    words: str = ""  # what is on a strip
    missing: str = ""


@dataclass(frozen=True)
class Content:
    """What a page is made of."""

    subjects: Sequence[Subject]
    crops: Mapping[str, Crops]  # by the run's name
    model: Mapping[str, str] | None = None  # facts of a model that is of no run
    courses: Courses | None = None  # what is normal for the recipe
    environment: Mapping[str, str] | None = None  # where no run tells of its own
    clusters: Sections | None = None  # of the pictures of the one run
    title: str = ""


def report_page(content: Content) -> str:
    """The page's text."""
    subjects = content.subjects
    panels = panels_of(subjects, content.courses or {}) if subjects else []
    values: dict[str, Any] = {
        "title": content.title,
        "runs": [_run(subject, number, content) for number, subject in enumerate(subjects)],
        "panels": [{**panel._asdict(), "legend": panel.legend, "id": f"curve-{n}"} for n, panel in enumerate(panels)],
        "panel_height": HEIGHT,
        "has_course": any(panel.course for panel in panels),
        "comparison": compared(subjects) if len(subjects) > 1 else None,
        "tables": tables_of(subjects[0]) if len(subjects) == 1 else [],
        "rows": recipe_rows(subjects) if subjects else [],
        "model": content.model,
        "environments": _environments(content),
    }
    clusters = content.clusters or Sections({}, {})
    confusion = confusion_of(subjects[0]) if len(subjects) == 1 else None
    values["has_confusion"] = confusion is not None and len(confusion[1]) <= DRAWN
    drawings = {f"curve-{number}": draw_panel(panel) for number, panel in enumerate(panels)}
    if confusion is not None and values["has_confusion"]:
        drawings["confusion"] = draw_confusion(*confusion)
    values = {**clusters.values, **values, "has_clusters": bool(clusters.values)}
    return render_page("report.html", {**drawings, **clusters.drawings}, sections=_sections(values), **made(), **values)


def _run(subject: Subject, number: int, content: Content) -> dict[str, Any]:
    crops = content.crops.get(subject.name, Crops())
    return {
        "name": subject.name,
        "colour": COLOURS[number % len(COLOURS)],
        "facts": "; ".join(facts_of(subject)),
        "state": standing_of(subject),
        "headline": headline_of(subject),
        "earlier": earlier_trouble(subject),
        "numbers": numbers_of(subject),
        "crops": crops.strips,
        "crop_words": crops.words,
        "crops_missing": crops.missing,
        "sheet": file_address(subject.folder.prototypes, WIDEST),
    }


def _environments(content: Content) -> list[dict[str, Any]]:
    """Of each run where it was begun or gone on with, each once."""
    found: dict[str, dict[str, Any]] = {}
    for subject in content.subjects:
        for line in subject.starts:
            facts = line.get("environment") or {}
            when = str(line.get("time", "")).replace("T", " ").replace("+00:00", " UTC")
            what = f"gone on with behind step {line['step']:,}" if line.get("step") else "begun"
            known = found.setdefault(str(facts), {"facts": facts, "told": []})
            known["told"].append(f"{subject.name}, {what} on {when}")
    if not found and content.environment:
        found[""] = {"facts": content.environment, "told": ["Of the machine on which this page was made"]}
    return [{"facts": each["facts"], "told": "; ".join(each["told"])} for each in found.values()]


def _sections(values: dict[str, Any]) -> list[tuple[str, str]]:
    there = {
        "curves": ("Curves", values["panels"]),
        "results": ("Results", values["tables"] or values["comparison"]),
        "crops": ("Crops", any(run["crops"] or run["crops_missing"] for run in values["runs"])),
        "prototypes": ("Prototypes", any(run["sheet"] for run in values["runs"])),
        "clusters": ("Clusters", values["has_clusters"]),
        "recipe": ("Recipe", values["rows"]),
        "model": ("Model", values["model"]),
        "environment": ("Environment", values["environments"]),
    }
    return [(anchor, words) for anchor, (words, found) in there.items() if found]

"""The page of a folder of clusters, and what a run's report takes of it."""

from __future__ import annotations

import json
from pathlib import Path

from swav_cli.data.reading.loader import pick_readers
from swav_cli.errors import Notice, Told, silent
from swav_cli.evaluate.clustering.found import Found
from swav_cli.evaluate.clustering.kept import Kept
from swav_cli.evaluate.clustering.layout import by_what, laid_out
from swav_cli.files import write_text
from swav_cli.report.pages.clusters import MOST_DOTS, Sections, clusters_page, clusters_sections
from swav_cli.report.pages.page import check_page_place, check_pages, data_text, missing_for_pages, save_page
from swav_cli.tasks.clusters_opened import ClustersFolder, Opened

FORMAT = "swav-clusters-page-1"
MOST_IN_A_REPORT = 12_000_000  # bytes; the page of more clusters stands by itself


def wants_page(asked: bool | None, folder: ClustersFolder, notice: Notice) -> bool:
    """Whether a page is to be written; that it can't be is said where nobody has asked for it.

    Raises:
        UserError: somebody has, or a file of that name is there that is no page of ours.
    """
    missing = missing_for_pages()
    if asked:
        check_pages()
    elif asked is None and missing:
        notice(f"no {folder.page.name}: {missing}")
    if asked is False or missing:
        return False
    check_page_place(folder.page, overwrite=False)
    return True


def write_page(opened: Opened, found: Found, kept: Kept, progress: Told = silent) -> None:
    """
    Raises:
        UserError: it can't be written.
    """
    workers = pick_readers(opened.how.workers, opened.pictures, opened.how.device)
    places = laid_out(found, kept, MOST_DOTS)
    sections = clusters_sections(found, places, by_what(found, MOST_DOTS), workers, progress)
    save_page(opened.folder.page, clusters_page(sections))
    write_text(opened.folder.sections, json.dumps({"format": FORMAT, **sections._asdict()}))


def sections_of(run: Path) -> Sections | None:
    """What is known of the clusters of a run's own pictures; None where nothing is, or too much for a report."""
    try:
        path = ClustersFolder(run / "clusters").sections
        if path.stat().st_size > MOST_IN_A_REPORT:
            return None
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["format"] != FORMAT:
            return None
        # What a page holds as it is goes through JSON once more: the file may be anybody's.
        values = {**known["values"], "told": data_text(json.loads(known["values"]["told"]))}
        return Sections(values, known["dots"])
    except (OSError, ValueError, KeyError, TypeError):
        return None

"""Which pictures belong together, which are copies, which are odd: what `swav clusters` does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from swav_cli.data.inputs import named, open_inputs, opened_for
from swav_cli.data.paths import expanded
from swav_cli.data.pictures import Pictures
from swav_cli.errors import Notice, Told, UserError, counted, silent
from swav_cli.evaluate.answer import Answer, Guess
from swav_cli.evaluate.clustering.against import matches
from swav_cli.evaluate.clustering.agreement import usage
from swav_cli.evaluate.clustering.copies import NEAR
from swav_cli.evaluate.clustering.find import Wanted, find
from swav_cli.evaluate.clustering.found import Found, Match
from swav_cli.evaluate.clustering.groups import Grouping
from swav_cli.evaluate.clustering.kept import Kept, keys_of
from swav_cli.evaluate.clustering.layout import laid_out
from swav_cli.evaluate.clustering.near import EXACT, nearest
from swav_cli.evaluate.clustering.seen import Seen, see
from swav_cli.evaluate.features import extract_features
from swav_cli.evaluate.inference import Inference
from swav_cli.evaluate.sorting import Sorting
from swav_cli.evaluate.unread import FEW
from swav_cli.files import write_json
from swav_cli.report.atlas import opening_command, write_atlas
from swav_cli.report.clusters_sheet import save_groups, save_near
from swav_cli.report.clusters_table import (
    TableFormat,
    check_atlas,
    check_format,
    listed,
    write_list,
    write_matches,
    write_table,
)
from swav_cli.report.words import size
from swav_cli.tasks.clusters_opened import ClustersFolder, Opened, all_seen, open_clusters, refuse_inputs, working_in
from swav_cli.tasks.clusters_page import wants_page, write_page
from swav_cli.writable import check_place

RESULTS_FORMAT = "swav-clusters-results-1"
MINUTES_A_MILLION = 100  # of a processor, for a million pictures to be compared each with all others
FIRST = 20  # outliers and sets of copies told in results.json; the table has all
SLOW_TO_LAY_OUT = 3_000  # pictures, from which on it is said that they are laid out


@dataclass(frozen=True)
class Clusters:
    """What was found, and where it lies."""

    folder: ClustersFolder
    found: Found
    results: dict[str, Any]  # as results.json has it


def find_clusters(
    inputs: str | Path | Sequence[str | Path] = (),
    model: str | Path | None = None,
    out: str | Path | None = None,
    *,
    groups: str | int = "auto",
    method: str = "clusters",
    smallest: int | None = None,
    near: float = NEAR,
    against: str | Path | Sequence[str | Path] = (),
    written: str = "csv",
    show: str | Path | None = None,
    page: bool | None = None,
    atlas: bool = False,
    sort_into: str | Path | None = None,
    copy: bool = False,
    how: Inference | None = None,
    overwrite: bool = False,
    notice: Notice = silent,
    progress: Told = silent,
    comparing: Told = silent,
    drawing: Told = silent,
    indexing: Told = silent,
) -> Clusters:
    """Find which pictures belong together, which are copies and which are odd, and write it into a folder.

    >>> clusters = find_clusters("photos/", "runs/quickstart", "clusters", groups=2)
    >>> clusters.results["pictures"], clusters.found.paths[0]
    (40, 'photos/plain/00.png')

    The same call again computes nothing that the folder knows; of pictures that have come, their features alone.
    Clusters and groups stay then.

    Args:
        inputs: as `open_inputs` takes them; none: the pictures of the model's own run.
        model: what `load_model` takes; nothing: the newest run that was pretrained, else the newest.
        out: the folder; nothing said: `clusters` in the run's folder for its own pictures, else here.
        groups: how many, or "auto".
        method: "clusters" merges the model's clusters into groups; "density" finds groups by HDBSCAN.
        smallest: pictures of the smallest group by density.
        near: cosine from which on pictures that look alike are copies.
        against: other pictures; which of these are among them is found too.
        written: the table's format, csv or parquet.
        show: a PNG file for the most typical pictures of each group.
        page: write `index.html` too, to look at all of it; None: where what draws it is installed.
        atlas: write `atlas.parquet` too, which embedding-atlas opens.
        sort_into: a folder in which each group gets one with its pictures, as links, or with `copy` copies.
        how: on which device and the like; what is found depends on the precision alone.
        overwrite: begin anew, and replace what the folder holds.
        notice: told of what is worth knowing.
        progress, comparing, drawing: told of pictures computed, compared, and read again to be drawn.
        indexing: told of bytes done and bytes in all where shards are gone through for the first time.

    Raises:
        UserError: a mistake that can be mended, and nothing was written; or no picture could be read.
        Interrupted: a signal came; features so far are kept.
    """
    wanted, form = Wanted(Grouping.wanted(groups, method, smallest), _checked_near(near)), check_format(written)
    if atlas:
        check_atlas()
    show, sort_into = (expanded(place) if place is not None else None for place in (show, sort_into))
    _check_places(show, sort_into)
    opened = open_clusters(inputs, model, out, how, sort_into, notice, indexing)
    folder, pictures, names = opened.folder, opened.pictures, named(against)
    others = open_inputs(names, opened.model.about.channels, progress=indexing) if names else None
    sorting = Sorting(sort_into, pictures, (), 0, copy=copy, notice=notice) if sort_into else None
    refuse_inputs(opened, [*([show] if show else []), folder.table(form), folder.against(form), folder.results])
    draws = wants_page(page, folder, notice)
    _tell_of_many(len(pictures), notice)
    began = time.monotonic()
    with working_in(opened, overwrite) as kept:
        seen = all_seen(opened, kept, notice, progress)
        then = time.monotonic()
        found = find(opened.model, pictures, seen.row, kept, wanted, comparing)
        if others is not None:
            found = replace(found, against=_against(opened, others, seen, kept, wanted, progress))
        clusters = Clusters(folder, found, _results(found, seen, wanted))
        if others is not None:
            clusters.results["against"] = _matched(found, others)
        clusters.results["seconds"] = {"features": then - began, "clusters": time.monotonic() - then}
        _write(clusters, form, others is not None)
        maps = _write_maps(opened, found, kept, atlas, draws, notice, drawing)
    asked_for = wanted.grouping.count or 0
    if asked_for > len(found.groups):
        notice(f"--groups {asked_for}: {len(found.groups):,} clusters have pictures, so there are no more groups")
    for words in (f"wrote {folder.path}", *maps):
        notice(words)
    if show is not None:
        notice(f"wrote {show}, a line for each of {save_groups(show, found)} groups")
    if sorting is not None:
        clusters.results["sorted"] = _sorted(sorting, found)
        notice(sorting.in_words())
    return clusters


def nearest_pictures(
    picture: str | Path,
    inputs: str | Path | Sequence[str | Path] = (),
    model: str | Path | None = None,
    out: str | Path | None = None,
    *,
    k: int = 20,
    show: str | Path | None = None,
    how: Inference | None = None,
    overwrite: bool = False,
    notice: Notice = silent,
    progress: Told = silent,
    indexing: Told = silent,
) -> list[dict[str, Any]]:
    """The k pictures that are most like one, which need not be among them; itself it is never.

    >>> nearest_pictures("demo/bird.JPEG", "photos/", "runs/quickstart", "clusters", k=3)[0].keys()
    dict_keys(['path', 'similarity'])

    What is computed of the pictures is kept as `find_clusters` keeps it, so that the next question is answered at once.

    Args:
        show: a PNG file for the picture and those near it.

    The rest is that of `find_clusters`.

    Raises:
        UserError: a mistake that can be mended, or a picture that can't be read.
    """
    if k < 1:
        raise UserError(f"-k {k}: at least 1")
    show = expanded(show) if show is not None else None
    _check_places(show, None)
    opened = open_clusters(inputs, model, out, how, None, notice, indexing)
    asked = opened_for([picture], opened.model.about.channels)
    if len(asked) != 1:
        raise UserError(f"--nearest {picture}: is {len(asked):,} pictures; name one")
    refuse_inputs(opened, [show] if show else [])
    asked.read(0)
    with working_in(opened, overwrite) as kept:
        seen = all_seen(opened, kept, notice, progress)
        space = kept.space()
    assert space is not None
    function = opened.model.network.features
    point = space.points(extract_features(function, asked, opened.model.about, opened.how)).numpy()
    read = np.flatnonzero([not error for error in seen.row.errors])
    own = keys_of(opened.pictures)[0].index(key) if (key := keys_of(asked)[0][0]) in keys_of(opened.pictures)[0] else -1
    ids, cosines = (each[0] for each in nearest(seen.row.points[read], k + 1, point))
    near = [(int(read[i]), float(c)) for i, c in zip(ids, cosines, strict=True) if i >= 0 and read[i] != own][:k]
    if show is not None:
        save_near(show, opened.pictures, near, asked)
        notice(f"wrote {show}")
    return [{"path": opened.pictures.name(index), "similarity": min(1.0, cosine)} for index, cosine in near]


# --- checks, before anything is written -----------------------------------------------------------------------------


def _checked_near(near: float) -> float:
    if not 0 < near <= 2:
        raise UserError(f"--near {near:g}: a cosine above 0 and up to 1; 2 finds exact copies alone")
    return near


def _check_places(show: Path | None, sort_into: Path | None) -> None:
    if show is not None:
        if show.suffix.lower() != ".png":
            raise UserError(f"--show {show}: the sheet is a PNG file; name it {show.with_suffix('.png')}")
        check_place(show, "--show")
    if sort_into is not None:
        check_place(sort_into, "--sort-into", is_folder=True)


def _tell_of_many(count: int, notice: Notice) -> None:
    if count > EXACT and find_spec("faiss") is None:
        minutes = round(MINUTES_A_MILLION * (count / 1e6) ** 2)
        notice(
            f"{count:,} pictures are compared each with all others, for some {minutes:,} minutes of a processor; "
            "pip install 'swav-cli[faiss]' finds nearly the same neighbours in a twentieth of that"
        )


# --- the work -------------------------------------------------------------------------------------------------------


def _against(opened: Opened, others: Pictures, seen: Seen, kept: Kept, wanted: Wanted, progress: Told) -> list[Match]:
    """Which pictures are among the others, whose features are kept beside."""
    beside = kept.beside("against")
    there = see(opened.model, others, opened.how, beside, progress, joins=True)
    return matches(seen.row, there.row, [others.name(index) for index in range(len(others))], wanted.near)


def _sorted(sorting: Sorting, found: Found) -> dict[str, Any]:
    """A folder a group, and one for pictures of none."""
    numbers = [group.number for group in found.groups]
    width = len(str(max(numbers, default=0)))
    sorting.name_folders([f"group-{n:0{width}d}" if n >= 0 else "none" for n in numbers], "groups")
    place = {number: position for position, number in enumerate(numbers)}
    for index in np.flatnonzero(found.read).tolist():
        sorting.place(Answer(index, found.paths[index], (Guess(place[int(found.group[index])], None, 1.0),)))
    return sorting.summary()


# --- what is written ------------------------------------------------------------------------------------------------


def _write(clusters: Clusters, form: TableFormat, compared: bool) -> None:
    """The results last: once they are there, all is."""
    folder, found = clusters.folder, clusters.found
    write_table(folder.table(form), found, form)
    for name in ("keep", "delete"):
        write_list(folder.list(name), listed(found, name))
    if compared:
        write_matches(folder.against(form), found, form)
    write_json(folder.results, clusters.results)


def _write_maps(
    opened: Opened, found: Found, kept: Kept, atlas: bool, page: bool, notice: Notice, drawing: Told
) -> list[str]:
    """What is to be looked at, as far as it is wanted; and how, in words."""
    folder, words = opened.folder, []
    folder.sections.unlink(missing_ok=True)  # it tells of what was found before
    if (page or atlas) and len(found.paths) >= SLOW_TO_LAY_OUT:
        notice(f"laying out {counted(len(found.paths), 'picture')}")
    if page:
        write_page(opened, found, kept, drawing)
        words.append(f"look at {folder.page}, {size(folder.page.stat().st_size)}")
    if atlas:
        write_atlas(folder.atlas, found, laid_out(found, kept), drawing)
        words.append(f"look at it with: {opening_command(folder.atlas)}")
    return words


def _results(found: Found, seen: Seen, wanted: Wanted) -> dict[str, Any]:
    read = found.read
    used = usage(torch.from_numpy(found.cluster[read]), found.clusters)
    return {
        "format": RESULTS_FORMAT,
        "model": found.model,
        "source": found.pictures.source,
        "pictures": len(found.paths),
        "unread": int((~read).sum()),
        "computed": seen.new,
        "changed": seen.changed,
        "gone": seen.gone,
        "clusters": {"kind": found.kind, **used._asdict()},
        "grouping": {"method": wanted.grouping.method, "asked_for": wanted.grouping.count or "auto"},
        "groups": [
            {
                "group": group.number,
                "pictures": len(group.pictures),
                "share": len(group.pictures) / max(1, int(read.sum())),
                "commonest": group.commonest,
                "purity": group.purity,
                "typical": [found.paths[index] for index in group.typical[:FEW]],
            }
            for group in found.groups
        ],
        "copies": _copies(found, wanted),
        "outliers": {
            "count": len(found.odd),
            "first": [{"path": found.paths[i], "score": float(found.outlier[i])} for i in found.odd[:FIRST].tolist()],
        },
        "classes": found.judged,
    }


def _copies(found: Found, wanted: Wanted) -> dict[str, Any]:
    return {
        "near": wanted.near,
        "sets": len(found.copies),
        "delete": int((~found.keep).sum()),
        "exact": int(found.exact.sum()),
        "first": [
            {
                "keep": found.paths[kept],
                "delete": [{"path": found.paths[i], "similarity": float(found.similarity[i])} for i in others[:FIRST]],
            }
            for kept, others in found.copies[:FIRST]
        ],
    }


def _matched(found: Found, others: Pictures) -> dict[str, Any]:
    first = [
        {"path": found.paths[match.picture], "other": match.other, "similarity": match.similarity}
        for match in found.against[:FIRST]
    ]
    exact = sum(match.exact for match in found.against)
    return {"other": others.source, "pictures": len(found.against), "exact": exact, "first": first}

"""Which pictures belong together, which are copies, which are odd: what `swav clusters` does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from swav_cli.core.weights import weights_digest
from swav_cli.data.folders.own_results import CLUSTERS
from swav_cli.data.inputs import named, open_inputs, refuse_to_replace
from swav_cli.data.paths import expanded
from swav_cli.data.pictures import Pictures, tell
from swav_cli.errors import Notice, Told, UserError, counted, silent
from swav_cli.evaluate.clustering.agreement import usage
from swav_cli.evaluate.clustering.copies import NEAR
from swav_cli.evaluate.clustering.find import Wanted, find
from swav_cli.evaluate.clustering.found import Found
from swav_cli.evaluate.clustering.groups import Grouping
from swav_cli.evaluate.clustering.kept import Kept
from swav_cli.evaluate.clustering.seen import Seen, see
from swav_cli.evaluate.inference import Inference
from swav_cli.evaluate.unread import FEW
from swav_cli.files import held, write_json, write_text
from swav_cli.report.clusters_table import TableFormat, check_format, listed, write_list, write_table
from swav_cli.report.printable import printable
from swav_cli.run.newest import newest_run
from swav_cli.tasks.extract import pictures_of_run
from swav_cli.writable import check_place
from swav_cli.zoo.load import load_model

RESULTS_FORMAT = "swav-clusters-results-1"
FIRST = 20  # outliers and sets of copies told in results.json; the table has all


class ClustersFolder:
    """Where what is found lies."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def kept(self) -> Path:
        return self.path / "kept"

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    @property
    def mark(self) -> Path:
        return self.path / CLUSTERS

    def table(self, written: TableFormat) -> Path:
        return self.path / f"clusters.{written}"

    def against(self, written: TableFormat) -> Path:
        return self.path / f"against.{written}"

    def list(self, name: str) -> Path:
        return self.path / f"{name}.txt"


def find_clusters(
    inputs: str | Path | Sequence[str | Path] = (),
    model: str | Path | None = None,
    out: str | Path | None = None,
    *,
    groups: str | int = "auto",
    method: str = "clusters",
    smallest: int | None = None,
    near: float = NEAR,
    written: str = "csv",
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    notice: Notice = silent,
    progress: Told = silent,
    indexing: Told = silent,
) -> Clusters:
    """Find which pictures belong together, which are copies and which are odd, and write it into a folder.

    >>> clusters = find_clusters("photos/", "runs/quickstart", "clusters", groups=2)
    >>> clusters.results["pictures"], [group.number for group in clusters.found.groups]
    (40, [0, 1])

    The same call again computes nothing that the folder knows; of pictures that have come, their features alone.
    Clusters and groups stay then.

    Args:
        inputs: as `open_inputs` takes them; none: the pictures of the model's own run.
        model: what `load_model` takes; nothing: the newest run.
        out: the folder; nothing said: `clusters` in the run's folder for its own pictures, else here.
        groups: how many, or "auto".
        method: "clusters" merges the model's clusters into groups; "density" finds groups by HDBSCAN.
        smallest: pictures of the smallest group by density.
        near: cosine from which on pictures that look alike are copies.
        written: the table's format, csv or parquet.
        overwrite: begin anew, and replace what the folder holds.

    Raises:
        UserError: a mistake that can be mended, and nothing was written; or no picture could be read.
        Interrupted: a signal came; features so far are kept.
    """
    given = named(inputs)
    wanted, form = Wanted(Grouping.wanted(groups, method, smallest), _checked_near(near)), check_format(written)
    how = Inference.wanted(device, precision, batch_size, workers)
    source = str(model) if model is not None else newest_run(notice)
    if not given and source is None:
        raise UserError("there is no run whose pictures could be taken; name some: swav clusters photos/")
    folder = ClustersFolder(_place(out, source if not given else None))
    found = load_model(source, notice=notice)
    pictures = (
        open_inputs(given, found.about.channels, without=folder.path, progress=indexing)
        if given
        else pictures_of_run(Path(str(source)), indexing)
    )
    tell(pictures, notice)
    refuse_to_replace(given, pictures, [folder.table(form), folder.results])
    began = time.monotonic()
    with _working_in(folder):
        kept = Kept(folder.kept, {"model": weights_digest(found), "precision": how.precision})
        _begin(kept, folder, overwrite)
        seen = see(found.to(how.device), pictures, how, kept, progress)
        _refuse_nothing_read(seen, pictures)
        then = time.monotonic()
        clusters = Clusters(folder, find(found, pictures, seen.row, kept, wanted), {})
        clusters.results.update(_results(clusters.found, seen, wanted))
        clusters.results["seconds"] = {"features": then - began, "clusters": time.monotonic() - then}
        _write(clusters, form)
    _tell(clusters, seen, notice)
    return clusters


@dataclass(frozen=True)
class Clusters:
    """What was found, and where it lies."""

    folder: ClustersFolder
    found: Found
    results: dict[str, Any]  # as results.json has it


# --- checks, before anything is written -----------------------------------------------------------------------------


def _checked_near(near: float) -> float:
    if not 0 < near <= 2:
        raise UserError(f"--near {near:g}: a cosine above 0 and up to 1; 2 finds exact copies alone")
    return near


def _place(out: str | Path | None, run: str | None) -> Path:
    """The folder, in which nothing of the user's lies.

    Raises:
        UserError: there is something else.
    """
    inside = expanded(run) if run and os.path.isdir(expanded(run)) else Path()
    path = expanded(out) if out is not None else inside / "clusters"
    check_place(path, "--out", is_folder=True)
    if path.is_dir() and any(path.iterdir()) and not ClustersFolder(path).mark.exists():
        raise UserError(f"--out {path}: holds other files, and no clusters; name another folder")
    return path


def _begin(kept: Kept, folder: ClustersFolder, overwrite: bool) -> None:
    """
    Raises:
        UserError: the folder's clusters are of another model.
    """
    before = None if overwrite else kept.before()
    if before is not None and before != kept.made:
        other = "another model" if before.get("model") != kept.made["model"] else f"{before.get('precision')} precision"
        raise UserError(
            f"--out {folder.path}: holds clusters of {other}; name another folder, or begin anew with --overwrite"
        )
    if before is None:
        kept.clear()
        kept.begin()


@contextmanager
def _working_in(folder: ClustersFolder) -> Iterator[None]:
    """Hold the folder, which is made.

    Raises:
        UserError: another process holds it, or it can't be written.
    """

    def busy() -> None:
        raise UserError(f"{folder.path}: another process is writing it; wait for it, or give --out")

    with ExitStack() as lock:
        try:
            folder.kept.mkdir(parents=True, exist_ok=True)
            lock.enter_context(held(folder.path / ".lock", busy))
        except OSError as error:
            raise UserError(f"{folder.path}: can't be written ({error.strerror}); name another --out") from None
        if not folder.mark.exists():
            write_text(folder.mark, "made by swav clusters; what lies here tells of other folders' pictures\n")
        yield


def _refuse_nothing_read(seen: Seen, pictures: Pictures) -> None:
    if all(seen.row.errors):
        first = "; ".join(f"{pictures.name(i)}: {why}" for i, why in enumerate(seen.row.errors[:FEW]))
        raise UserError(printable(f"none of {counted(len(pictures), 'picture')} could be read; first {first}"))


# --- what is written ------------------------------------------------------------------------------------------------


def _write(clusters: Clusters, form: TableFormat) -> None:
    """The results last: once they are there, all is."""
    folder, found = clusters.folder, clusters.found
    write_table(folder.table(form), found, form)
    for name in ("keep", "delete"):
        write_list(folder.list(name), listed(found, name))
    write_json(folder.results, clusters.results)


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


def _tell(clusters: Clusters, seen: Seen, notice: Notice) -> None:
    found = clusters.found
    if seen.new < len(found.paths):
        changed = f", {seen.changed:,} of them changed" if seen.changed else ""
        notice(f"{counted(seen.new, 'picture')} computed{changed}; {len(found.paths) - seen.new:,} were known")
    if seen.gone:
        notice(f"{counted(seen.gone, 'picture')} of before {'is' if seen.gone == 1 else 'are'} not among these")
    unread = np.flatnonzero(~found.read)
    if len(unread):
        first = "; ".join(printable(f"{found.paths[i]}: {found.errors[i]}") for i in unread[:FEW].tolist())
        notice(f"{len(unread):,} of {len(found.paths):,} pictures could not be read; first {first}")
    notice(f"wrote {clusters.folder.path}")

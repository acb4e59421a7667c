"""The folder of clusters, opened: by which model, of which pictures, and what it holds, all of it checked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from swav_cli.core.weights import Model, weights_digest
from swav_cli.data.folders.own_results import CLUSTERS
from swav_cli.data.inputs import named, open_inputs, refuse_to_replace
from swav_cli.data.paths import expanded
from swav_cli.data.pictures import Pictures, tell
from swav_cli.errors import Notice, Told, UserError, counted, silent
from swav_cli.evaluate.clustering.kept import Kept
from swav_cli.evaluate.clustering.seen import Seen, see
from swav_cli.evaluate.inference import Inference
from swav_cli.evaluate.unread import FEW, unread_in_words
from swav_cli.files import held, write_text
from swav_cli.report.clusters_table import TableFormat
from swav_cli.run.newest import newest_run
from swav_cli.tasks.extract import pictures_of_run
from swav_cli.writable import check_place
from swav_cli.zoo.load import load_model


@dataclass(frozen=True)
class ClustersFolder:
    """Where what is found lies."""

    path: Path

    @property
    def kept(self) -> Path:
        return self.path / "kept"

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    @property
    def atlas(self) -> Path:
        return self.path / "atlas.parquet"

    @property
    def page(self) -> Path:
        return self.path / "index.html"

    @property
    def sections(self) -> Path:
        """What the page tells, for the report of the run that these are the pictures of."""
        return self.kept / "page.json"

    @property
    def mark(self) -> Path:
        return self.path / CLUSTERS

    def table(self, written: TableFormat) -> Path:
        return self.path / f"clusters.{written}"

    def against(self, written: TableFormat) -> Path:
        return self.path / f"against.{written}"

    def list(self, name: str) -> Path:
        return self.path / f"{name}.txt"


@dataclass(frozen=True)
class Opened:
    """A model and the pictures that it is to see, with the folder for what it finds."""

    folder: ClustersFolder
    model: Model
    pictures: Pictures
    how: Inference
    given: list[str]  # the pictures as they were named; none: those of the model's run


def open_clusters(
    inputs: str | Path | Sequence[str | Path],
    model: str | Path | None,
    out: str | Path | None,
    how: Inference | None,
    without: Path | None = None,
    notice: Notice = silent,
    indexing: Told = silent,
) -> Opened:
    """
    Args:
        inputs: as `open_inputs` takes them; none: the pictures of the model's own run.
        model: what `load_model` takes; nothing: the newest run that was pretrained, else the newest.
        out: the folder; nothing said: `clusters` in the run's folder for its own pictures, else here.
        without: a folder for pictures that are sorted, which are left out.

    Raises:
        UserError: a mistake that can be mended; nothing was written.
    """
    given = named(inputs)
    # One of a classifier knows no prototypes any more.
    source = str(model) if model is not None else newest_run(notice, pretrained=True) or newest_run(notice)
    if not given and source is None:
        raise UserError("there is no run whose pictures could be taken; name some: swav clusters photos/")
    folder = ClustersFolder(_place(out, source if not given else None))
    if without is not None and os.path.realpath(without) == os.path.realpath(folder.path):
        raise UserError(f"--sort-into {without}: is the place of --out too; give each its own")
    found = load_model(source, notice=notice)
    pictures = (
        open_inputs(given, found.about.channels, without=without, progress=indexing)
        if given
        else pictures_of_run(Path(str(source)), indexing)
    )
    tell(pictures, notice)
    return Opened(folder, found, pictures, how or Inference.wanted(), given)


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


@contextmanager
def working_in(opened: Opened, overwrite: bool = False) -> Iterator[Kept]:
    """What the folder knows, while this process alone works there; the folder is made.

    Raises:
        UserError: another process is at work, the folder can't be written, or it knows another model.
    """
    folder = opened.folder
    made = {"model": weights_digest(opened.model), "precision": opened.how.precision}

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
        kept = Kept(folder.kept, made)
        _begin(kept, folder, overwrite)
        yield kept


def _begin(kept: Kept, folder: ClustersFolder, overwrite: bool) -> None:
    before = None if overwrite else kept.before()
    if before is not None and before != kept.made:
        other = "another model" if before.get("model") != kept.made["model"] else f"{before.get('precision')} precision"
        raise UserError(
            f"--out {folder.path}: holds clusters of {other}; name another folder, or begin anew with --overwrite"
        )
    if before is None:
        kept.clear()
        kept.begin()


def all_seen(opened: Opened, kept: Kept, notice: Notice = silent, progress: Told = silent) -> Seen:
    """What is known of all pictures, with those computed that are new.

    Raises:
        UserError: none can be read, or the folder knows others.
        Interrupted: a signal came; what is computed is kept.
    """
    opened.model.to(opened.how.device)
    seen = see(opened.model, opened.pictures, opened.how, kept, progress)
    pictures, errors = opened.pictures, seen.row.errors
    unread = [(index, error) for index, error in enumerate(errors) if error]
    if unread:
        first = [(pictures.name(index), error) for index, error in unread[:FEW]]
        told = unread_in_words(first, len(unread), len(errors))
        if len(unread) == len(errors):
            raise UserError(told)
        notice(told)
    if seen.new < len(errors):
        changed = f", {seen.changed:,} of them changed" if seen.changed else ""
        known = f"{len(errors) - seen.new:,} were known"
        notice(f"{counted(seen.new, 'picture')} computed{changed}; {known}" if seen.new else f"all {known}")
    if seen.gone:
        notice(f"{counted(seen.gone, 'picture')} of before {'is' if seen.gone == 1 else 'are'} not among these")
    return seen


def refuse_inputs(opened: Opened, results: Sequence[Path]) -> None:
    """
    Raises:
        UserError: one of the results would replace what is read.
    """
    refuse_to_replace(opened.given, opened.pictures, results)

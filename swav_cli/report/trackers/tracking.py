"""A run and its trackers: told line by line, none of which may cost the run anything.

Below the run's folder `tracking/` holds which trackers the run itself tells (`run.json`), and of each under which id it
knows the run and up to which step it was told (`tensorboard.json`); so a run that goes on tells no step twice.
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from swav_cli.errors import Notice, first_line
from swav_cli.files import replacing, write_json
from swav_cli.parallel import distributed
from swav_cli.printable import printable_lines
from swav_cli.recipe.file import AnyRecipe
from swav_cli.report.trackers.told import curves_of, results_of
from swav_cli.report.trackers.tools import Place, Tool, open_tool
from swav_cli.run.folder import RunFolder

SHEETS = ("prototypes",)  # pictures of a finished run, by the names of their files


class Told:
    """One tracker that is told of a run."""

    def __init__(self, name: str, folder: RunFolder, recipe: AnyRecipe) -> None:
        self.name, self._file = name, folder.tracking / f"{name}.json"
        known = read_state(self._file)
        self.step, self.finished = int(known.get("step", 0)), bool(known.get("finished"))
        place = Place(folder.tracking / name, folder.path.resolve().name, str(known.get("id") or secrets.token_hex(4)),
                      resumed=bool(known))  # fmt: skip
        self.tool: Tool = open_tool(name, place)
        self._from = self.step
        if not known:
            self.tool.settings(recipe)
            self.keep()

    def line(self, line: dict[str, Any]) -> None:
        """A line of the log, unless it was told before."""
        values, step = curves_of(line), int(line.get("step", 0))
        if not values or step <= self._from:
            return
        self.tool.numbers(values, step)
        self.step = step
        self.keep()

    def results(self, results: dict[str, Any], folder: RunFolder) -> None:
        """What the run came to, with its pictures; once."""
        if self.finished:
            return
        self.tool.numbers(results_of(results), self.step)
        words = {key: str(results[key]) for key in ("verdict", "advice", "protocol") if results.get(key)}
        if words:
            self.tool.words(words, self.step)
        for name in SHEETS:
            path = folder.path / f"{name}.png"
            if path.exists():
                self.tool.sheet(name, _pixels(path), self.step)
        self.finished = True

    def keep(self) -> None:
        """Note how far it was told, so that a run which was killed tells no step twice when it goes on."""
        with replacing(self._file, flush=False) as part:  # not as far as a power cut goes
            part.write_text(json.dumps({"id": self.tool.id, "step": self.step, "finished": self.finished}) + "\n")

    def finish(self) -> None:
        self.keep()
        self.tool.finish()


class Trackers:
    """All trackers of a run. One that fails is told of in a line, and left alone from there on.

    Args:
        recipe: the run's, as it runs.
    """

    def __init__(self, names: Sequence[str], folder: RunFolder, recipe: AnyRecipe, notice: Notice) -> None:
        self.folder, self._notice = folder, notice
        self._told: dict[str, Told] = {}
        for name in names:
            self._safely(name, lambda: self._open(name, recipe))  # noqa: B023  (called at once)

    def _open(self, name: str, recipe: AnyRecipe) -> None:
        self._told[name] = Told(name, self.folder, recipe)

    @property
    def looks(self) -> dict[str, str]:
        """How each is looked at."""
        return {name: told.tool.look for name, told in self._told.items()}

    def line(self, line: dict[str, Any] | None) -> None:
        """A line that was written to the log; None where none was."""
        if line is not None:
            self._each(lambda told: told.line(line))

    def results(self, results: dict[str, Any]) -> None:
        self._each(lambda told: told.results(results, self.folder))

    def finish(self) -> dict[str, int]:
        """Up to which step those know the run that did not fail."""
        self._each(Told.finish)
        return {name: told.step for name, told in self._told.items()}

    def _each(self, tell: Callable[[Told], object]) -> None:
        for name, told in [*self._told.items()]:
            self._safely(name, lambda: tell(told))  # noqa: B023  (called at once)

    def _safely(self, name: str, tell: Callable[[], object]) -> None:
        """Whatever a tool prints stays off the command's own output."""
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                tell()
        except (Exception, SystemExit) as error:
            self._told.pop(name, None)
            self._notice(
                f"{name} is told no more ({printable_lines(first_line(error))}); the run does not need it, and "
                f"`swav track {self.folder.path} --to {name}` tells it the rest"
            )


@contextmanager
def tracking(folder: RunFolder, recipe: AnyRecipe, asked: Sequence[str] | None, notice: Notice) -> Iterator[Trackers]:
    """Around a run's training, in the folder that it holds: the first of its processes tells its trackers.

    Args:
        asked: their names; None: those that the run told before, where it goes on.
        notice: told how to look at each, and which one failed.
    """
    names = list(asked) if asked is not None else remembered(folder)
    if not distributed.is_writer():
        names = []
    elif asked is not None and (asked or folder.tracking.exists()):
        write_json(folder.tracking / "run.json", {"trackers": names})
    trackers = Trackers(names, folder, recipe, notice)
    for name, look in trackers.looks.items():
        notice(f"  {name}: {look}")
    try:
        yield trackers
    finally:
        trackers.finish()


def hint_at_replay(folder: RunFolder, asked: Sequence[str] | None, notice: Notice) -> None:
    """Of a finished run nothing more is logged, and what a tracker lacks it can be told from the files."""
    if asked:
        notice(f"its trackers were told nothing now: swav track {folder.path} --to {','.join(asked)}")


def remembered(folder: RunFolder) -> list[str]:
    """The trackers that a run itself tells."""
    names = read_state(folder.tracking / "run.json").get("trackers", [])
    return [str(name) for name in names] if isinstance(names, list) else []


def knows_all(folder: RunFolder, name: str) -> bool:
    """Whether a tracker was told of a finished run's results too."""
    return bool(read_state(folder.tracking / f"{name}.json").get("finished"))


def read_state(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _pixels(path: Path) -> Any:
    import numpy as np
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))

"""How a run is doing, from its files alone: it may be in progress in another process, or on another machine.

Nothing is written here and nothing is held, so that who looks disturbs nobody; and torch is not imported.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from swav_cli.data.folders.own_results import OF_A_RUN
from swav_cli.data.shards.names import is_stream
from swav_cli.errors import UserError
from swav_cli.files import is_held
from swav_cli.recipe.file import COMMANDS, read_yaml, schema_of
from swav_cli.run.folder import RunFolder
from swav_cli.run.metrics import NEWEST, MetricsReader, gist, thinned
from swav_cli.run.results import read_results

FRESH = 60.0  # seconds since a run's last line, in which it is taken to go on where its lock can't be seen
MOST_STEPS = 8000  # of a log that are kept to be drawn

Line = dict[str, Any]
Kind = Literal["starting", "running", "judging", "finished", "stopped", "diverged", "failed", "broken"]


class RunState(NamedTuple):
    """How a run is doing. What nobody knows is None."""

    run: str
    state: Kind
    why: str | None = None  # it ended by itself, or can't be told of
    command: str | None = None  # pretrain, linear-eval or finetune
    recipe: str | None = None  # its name
    data: str | None = None
    objective: str | None = None
    step: int = 0  # the last that is known of
    steps: int | None = None
    epochs: int | None = None
    last_step: Line = {}  # noqa: RUF012  (lines of metrics.jsonl)
    last_epoch: Line = {}  # noqa: RUF012
    results: Line = {}  # noqa: RUF012  (results.json)
    best: dict[str, float] = {}  # noqa: RUF012  (per cent: knn, linear, top1)
    changed: float | None = None  # seconds since anything in it changed
    seconds_left: float | None = None  # of a run in progress, until it is to be judged
    checkpoint_age: float | None = None  # seconds

    @property
    def is_alive(self) -> bool:
        return self.state in ("starting", "running", "judging")

    @property
    def epochs_done(self) -> int:
        return int(self.last_epoch["epoch"]) + 1 if "epoch" in self.last_epoch else 0

    @property
    def verdict(self) -> str | None:
        return self.results.get("verdict") or self.last_epoch.get("verdict")

    @property
    def advice(self) -> str | None:
        return self.results.get("advice") or self.last_epoch.get("advice") or None

    @property
    def go_on(self) -> str | None:
        """What to type so that it goes on; None where it is in progress, at its end, or would end so again."""
        if self.command is None or self.state not in ("stopped", "failed"):
            return None
        folder = RunFolder(Path(self.run))
        recipe, out = shlex.quote(str(folder.recipe)), shlex.quote(self.run)
        if self.command != "pretrain":
            return f"swav {self.command} --recipe {recipe} --out {out}"
        # A file brings no command and no address; they are to be typed.
        stream = f" --data {shlex.quote(self.data)}" if self.data and is_stream(self.data) else ""
        return f"swav pretrain {recipe} --out {out}{stream}"

    def as_json(self) -> dict[str, Any]:
        step, epoch = self.last_step, self.last_epoch
        return {
            "run": self.run,
            "state": self.state,
            "why": self.why,
            "go_on": self.go_on,
            "command": self.command,
            "recipe": self.recipe,
            "data": self.data,
            "step": self.step,
            "steps": self.steps,
            "epochs_done": self.epochs_done,
            "epochs": self.epochs,
            "loss": step.get("loss"),
            "loss_over_ln_k": step.get("loss_over_ln_k"),
            "best": self.best,
            "health": {key: value for key, value in epoch.items() if key not in ("kind", "epoch", "step")},
            "verdict": self.verdict,
            "advice": self.advice,
            "images_per_second": step.get("images_per_second"),
            "data_wait": step.get("data_wait"),
            "seconds": self.results.get("seconds") or step.get("seconds"),
            "seconds_left": self.seconds_left,
            "checkpoint_age": self.checkpoint_age,
            "changed": self.changed,
            "bad_pictures": self.results.get("bad_pictures"),
        }


class RunFollower:
    """Looks at a run again and again; what has been read of its log is not read again.

    >>> from swav_cli.run.state import RunFollower
    >>> RunFollower(Path("runs/quickstart")).look().state
    'stopped'
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[Line] = []
        self._metrics = MetricsReader(RunFolder(path).metrics, MOST_STEPS)

    def look(self) -> RunState:
        """How it is doing now."""
        with suppress(OSError):  # told by `state_of`
            lines, anew = self._metrics.new_lines()
            joined = lines if anew else self.lines + lines
            self.lines = thinned(joined, lambda line: line["kind"] == "step", MOST_STEPS) if lines or anew else joined
        return state_of(self.path, self.lines)


def glance(path: Path) -> RunState:
    """How a run is doing, without the curves: quick, however long its log."""
    try:
        return state_of(path, gist(RunFolder(path).metrics))
    except OSError as error:
        return RunState(str(path), "broken", f"{error.filename}: can't be read ({error.strerror})")


def state_of(path: Path, lines: Sequence[Line]) -> RunState:
    """How a run is doing by the lines of its log, and by what else lies in its folder."""
    folder, now = RunFolder(path), time.time()
    ages = {each: now - seen for each in (folder.recipe, folder.metrics, folder.results, folder.last)
            if (seen := changed_at(each)) is not None}  # fmt: skip
    changed = max(0.0, min(ages.values())) if ages else None
    try:
        about = _about(folder)
    except UserError as error:
        return RunState(str(path), "broken", str(error), changed=changed)
    steps = [line for line in lines if line["kind"] == "step"]
    epochs = [line for line in lines if line["kind"] == "epoch"]
    results = read_results(folder)
    last_step, last_epoch = steps[-1] if steps else {}, epochs[-1] if epochs else {}
    step = max(int(line.get("step", 0)) for line in (last_step, last_epoch))
    in_all = _steps(lines, last_epoch, about["epochs"], about.pop("batch_size"))
    pace = seconds_a_step(steps)
    kind, why = _kind(folder, lines, results, _is_fresh(changed, steps))
    if kind == "running":
        waits = not step and about["command"] == "pretrain"
        kind = "judging" if step and step == in_all else "starting" if waits else "running"
    if kind == "stopped" and step and step == in_all:
        why = "it is trained, and was not judged to the end"
    checkpoint = ages.get(folder.last)
    left = pace * (in_all - step) if pace is not None and in_all is not None and kind == "running" else None
    return RunState(
        str(path), kind, why, **about, step=step, steps=in_all, last_step=last_step, last_epoch=last_epoch,
        results=results, best=_best(about["command"], epochs, results), changed=changed,
        seconds_left=max(0.0, left - ages.get(folder.metrics, 0.0)) if left is not None else None,
        checkpoint_age=max(0.0, checkpoint) if checkpoint is not None else None,
    )  # fmt: skip


def changed_at(path: Path) -> float | None:
    """When a file was written last; None where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _about(folder: RunFolder) -> dict[str, Any]:
    """What a run is, from its recipe; of one of another version too, whose keys this one may not know.

    Raises:
        UserError: it can't be read.
    """
    if not folder.recipe.exists():
        raise UserError(f"{folder.recipe}: is not there, so that nobody knows what was trained")
    content = read_yaml(folder.recipe)
    data, training = (part if isinstance(part := content.get(key), dict) else {} for key in ("data", "training"))
    numbers = {key: value if isinstance(value := training.get(key), int) else None for key in ("epochs", "batch_size")}
    source = data.get("train")
    return {
        "command": COMMANDS[schema_of(content)],
        "recipe": str(content.get("name")),
        "data": source if isinstance(source, str) else None,
        "objective": str(content.get("objective", "swav")),
        **numbers,
    }


def _kind(folder: RunFolder, lines: Sequence[Line], results: Line, is_fresh: bool) -> tuple[Kind, str | None]:
    """Whether a process is at work on it, and else how it ended."""
    if "recipe" in results:
        return "finished", None
    held = is_held(folder.lock)
    if held or (held is None and is_fresh):
        return "running", None
    if lines and lines[-1]["kind"] == "failed":
        return "diverged" if lines[-1].get("diverged") else "failed", lines[-1].get("why")
    return "stopped", None


def _is_fresh(changed: float | None, steps: Sequence[Line]) -> bool:
    """Whether it wrote something not longer ago than it may be silent between two logged steps."""
    between = [float(line["seconds"]) for line in steps[-2:] if line.get("seconds") is not None]
    return changed is not None and changed < max(FRESH, 3 * (between[-1] - between[0]) if between else 0.0)


def _steps(lines: Sequence[Line], last_epoch: Line, epochs: int | None, batch: int | None) -> int | None:
    """How many the run has; runs of earlier versions tell after their first epoch."""
    pictures = next((line.get("pictures") for line in lines if line["kind"] == "start"), None)
    if epochs and batch and isinstance(pictures, int):
        return pictures // batch * epochs
    if epochs is None or "epoch" not in last_epoch:
        return None
    return int(last_epoch["step"]) // (int(last_epoch["epoch"]) + 1) * epochs


def seconds_a_step(steps: Sequence[Line]) -> float | None:
    """By the last logged steps, with what goes on between them."""
    recent = [(line["step"], line["seconds"]) for line in steps[-NEWEST:] if line.get("seconds") is not None]
    if len(recent) < 2 or recent[-1][0] == recent[0][0]:
        return None
    return float((recent[-1][1] - recent[0][1]) / (recent[-1][0] - recent[0][0]))


def _best(command: str, epochs: Sequence[Line], results: Line) -> dict[str, float]:
    """The best numbers, per cent; a classifier's own accuracy, a pretrained model's those of what was trained on it."""
    found: dict[str, list[Any]] = {"knn": [], "linear": [], "finetune": []}
    for line in [*epochs, results]:
        found["knn"].append(line.get("knn"))
        if command != "pretrain":
            found["linear" if command == "linear-eval" else "finetune"].append(line.get("top1"))
    for key, value in results.items():
        task = key.partition(":")[0]
        if task in ("linear", "finetune") and isinstance(value, dict):
            found[task].append(value.get("top1"))
    known = {key: [value for value in values if isinstance(value, (int, float))] for key, values in found.items()}
    return {key: float(max(values)) for key, values in known.items() if values}


# --- runs below a folder ----------------------------------------------------------------------------------------------


def runs_below(folder: Path) -> list[Path]:
    """Folders of runs below one, those within others too, last changed first. None is looked for within a run.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: is no folder")
    found: list[Path] = []
    waiting, seen = [folder], set[tuple[int, int]]()
    while waiting:
        here = waiting.pop()
        with suppress(OSError):
            status = here.stat()
            if (status.st_dev, status.st_ino) in seen:  # links that lead in a circle
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(here) as entries:
                names = {entry.name: entry.is_dir() for entry in entries}
            if is_run(names):
                found.append(here)
            else:
                waiting += [here / name for name, is_folder in names.items() if is_folder and name[0] != "."]
    return sorted(found, key=_last_change, reverse=True)


def is_run(names: Sequence[str] | dict[str, bool]) -> bool:
    """Whether a folder that holds files of these names is a run's, whole or broken."""
    return ("recipe.yaml" in names and (".lock" in names or bool(OF_A_RUN & set(names)))) or {
        "metrics.jsonl",
        "checkpoints",
    } <= set(names)


def _last_change(path: Path) -> float:
    folder = RunFolder(path)
    times = (changed_at(each) for each in (folder.metrics, folder.results, folder.last, folder.recipe))
    return max((each for each in times if each is not None), default=0.0)


def size_on_disk(path: Path) -> int:
    """Bytes that a folder takes; a file of several names is counted once, and links are not followed."""
    seen: dict[tuple[int, int], int] = {}
    for here, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                status = os.lstat(os.path.join(here, name))
                seen[status.st_dev, status.st_ino] = getattr(status, "st_blocks", -(-status.st_size // 512)) * 512
    return sum(seen.values())

"""A run on a screen: how far it is, how it is doing, and its curves; see `swav_cli.run.state`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from swav_cli.errors import counted
from swav_cli.printable import printable, printable_lines
from swav_cli.recipe.normal import normal_at, normal_courses
from swav_cli.report.curves import Curve, curve_of, draw, number
from swav_cli.report.words import age, duration
from swav_cli.run.state import Line, RunState

HINT = "Ctrl-C leaves; the run goes on"
BESIDE = 36  # letters that a curve takes at least
GAP = 4  # between two of them
LEAST, MOST = 4, 12  # lines of a curve
STYLES = {"finished": "green", "stopped": "yellow", "diverged": "red", "failed": "red", "broken": "red"}

# What is drawn: of lines of which kind, by which key, how it is called, times what. The first ones matter most.
OF_PRETRAINING = (
    ("step", "loss_over_ln_k", "loss / ln K", 1.0),
    ("epoch", "knn", "k-NN %", 1.0),
    ("epoch", "rank", "rank of embeddings", 1.0),
    ("epoch", "used_prototypes", "prototypes in use", 1.0),
    ("epoch", "feature_rank", "rank of features", 1.0),
    ("epoch", "stability", "keep their prototype, %", 100.0),
    ("step", "gradient_norm", "norm of the gradient", 1.0),
    ("step", "lr", "learning rate", 1.0),
    ("step", "images_per_second", "pictures a second", 1.0),
    ("step", "data_wait", "waiting for pictures, %", 100.0),
)  # fmt: skip
OF_CLASSIFIERS = (
    ("step", "loss", "loss", 1.0),
    ("epoch", "top1", "top-1 %", 1.0),
    ("step", "lr", "learning rate", 1.0),
    ("step", "images_per_second", "pictures a second", 1.0),
    ("step", "gradient_norm", "norm of the gradient", 1.0),
    ("step", "data_wait", "waiting for pictures, %", 100.0),
)  # fmt: skip


class Watched:
    """The screen of `swav watch`: drawn anew at each look on a terminal, and what it was last stays there.

    >>> with Watched(live=False) as screen:
    ...     screen.show(RunState("runs/x", "broken", "runs/x/recipe.yaml: is not there"), [])
    runs/x: broken
    runs/x/recipe.yaml: is not there

    Args:
        live: False prints what it is told.
    """

    def __init__(self, live: bool) -> None:
        self.console = Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
        self.live = live and not self.console.is_dumb_terminal  # which can't be drawn on twice
        self._last: tuple[RunState, list[Line]] | None = None
        self._screen: Live | None = None

    def __enter__(self) -> Watched:
        if self.live:
            self._screen = Live(console=self.console, screen=True, auto_refresh=False, vertical_overflow="crop")
            self._screen.start()
        return self

    def show(self, state: RunState, lines: list[Line]) -> None:
        if self._screen is None:
            self.console.print(screen_of(state, lines, self.console), crop=False)
            return
        self._last = state, lines
        self._screen.update(screen_of(state, lines, self.console, HINT), refresh=True)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._screen is None:
            return
        self._screen.stop()
        if self._last is not None:
            self.console.print(screen_of(*self._last, self.console), crop=False)
        if isinstance(error, KeyboardInterrupt):  # which is how one leaves it, and nothing to tell of
            raise SystemExit(130)


def screen_of(state: RunState, lines: Sequence[Line], console: Console, hint: str = "") -> RenderableType:
    """All that is shown of a run, as wide and as high as the terminal.

    Args:
        hint: the last line, what can be done.
    """
    head = heading(state, console)
    width, height = console.width, console.height if console.is_terminal else 24
    taken = sum(len(console.render_lines(line, pad=False)) for line in head) + bool(hint) + 1
    braille = "utf" in console.encoding.lower()
    drawn = curves(state, lines)
    across = max(1, min(len(drawn), (width + GAP) // (BESIDE + GAP)))
    down = -(-min(len(drawn), max(across, 4)) // across) if drawn else 0
    while drawn and down * across < len(drawn) and (height - taken) // (down + 1) >= MOST + 2:
        down += 1
    each = min(MOST, max(LEAST, (height - taken) // max(1, down) - 2))
    body: list[RenderableType] = []
    for first in range(0, min(len(drawn), across * down), across):
        body.append(Text(""))
        body += _beside(drawn[first : first + across], (width - GAP * (across - 1)) // across, each, braille)
    return Group(*head, *body, *([Text(hint, style="dim")] if hint else []))


def _beside(shown: Sequence[Curve], width: int, height: int, braille: bool) -> list[Text]:
    pictures = [draw(curve, width, height, braille) for curve in shown]
    rows = []
    for row_number, parts in enumerate(zip(*pictures, strict=True)):
        row = Text((" " * GAP).join(parts).rstrip(), style="bold" if row_number == 0 else "cyan", no_wrap=True)
        rows.append(row)
    return rows


def curves(state: RunState, lines: Sequence[Line]) -> list[Curve]:
    """Those of which there is something to see: two points at least."""
    asked = OF_PRETRAINING if state.command == "pretrain" else OF_CLASSIFIERS
    of_kind = {kind: [line for line in lines if line["kind"] == kind] for kind in ("step", "epoch")}
    drawn = [curve_of(title, of_kind[kind], key, scale) for kind, key, title, scale in asked]
    usual = [_usual(state, key) for _, key, _, _ in asked]
    return [curve._replace(beside=words) for curve, words in zip(drawn, usual, strict=True) if len(curve.y) > 1]


def _usual(state: RunState, key: str) -> str:
    """What is normal for the recipe where the run stands."""
    course = normal_courses(state.recipe or "", state.data or "", state.objective or "").get(key)
    if not course or not state.step or not state.steps:
        return ""
    usual = normal_at(course, state.step / state.steps)
    return f"({number(usual.low)} to {number(usual.high)})"


def heading(state: RunState, console: Console) -> list[Text]:
    """The lines above the curves."""
    lines = [_title(state)]
    if state.is_alive and state.step and state.steps:
        lines.append(_bar(state, console))
    told = [part for part in (*_speed(state), *_times(state)) if part]
    if told:
        lines.append(Text(", ".join(told)))
    best = [f"{name} {state.best[key]:.1f} %" for key, name in BEST.items() if key in state.best]
    beside = [f"{name} {state.results[key]:.1f} %" for key, name in BESIDE_KNN.items() if key in state.results]
    if best:
        lines.append(Text("best: " + ", ".join(best) + (f" ({', '.join(beside)})" if beside else "")))
    if state.verdict:
        trouble = state.verdict not in ("healthy", "warming up")
        words = state.verdict + (f": {state.advice}" if state.advice else "")
        lines.append(Text(words, style="bold red" if trouble else "green" if state.verdict == "healthy" else ""))
    if state.why:
        lines.append(Text(printable_lines(state.why), style=STYLES.get(state.state, "")))
    if state.go_on:
        lines.append(Text(f"go on with: {printable(state.go_on)}", no_wrap=True, overflow="ignore"))
    return lines


BESIDE_KNN = {"knn_raw_pixels": "raw pixels", "knn_untrained": "untrained network"}
BEST = {"knn": "k-NN", "linear": "linear classifier", "finetune": "fine-tuned"}


def state_words(state: RunState) -> str:
    """`running`, `stopped at step 140 of 390`."""
    if state.state in ("stopped", "diverged", "failed"):
        of = f" of {state.steps:,}" if state.steps else ""
        return f"{state.state} at step {state.step:,}{of}" if state.step else f"{state.state} before its first step"
    return state.state


def _title(state: RunState) -> Text:
    text = Text(printable(state.run), style="bold")
    text.append(f": {state_words(state)}", style=STYLES.get(state.state, "bold"))
    if state.epochs:
        text.append(f", {state.epochs_done} of {counted(state.epochs, 'epoch')} done", style="not bold")
    if state.recipe:
        of = f" on {printable(state.data)}" if state.data else ""
        text.append(f", {printable(state.recipe)}{of}", style="not bold dim")
    return text


def _bar(state: RunState, console: Console) -> Text:
    assert state.steps
    share = min(1.0, state.step / state.steps)
    left = f", {duration(state.seconds_left)} left" if state.seconds_left is not None else ""
    told = f" {share:4.0%}, step {state.step:,} of {state.steps:,}{left}"
    room = max(10, console.width - len(told))
    full, empty = ("█", "░") if "utf" in console.encoding.lower() else ("#", ".")
    done = round(share * room)
    return Text.assemble((full * done, "cyan"), (empty * (room - done), "dim"), told)


def _speed(state: RunState) -> list[str]:
    step = state.last_step
    if not step or not state.is_alive:
        return []
    rate, waiting = step.get("images_per_second"), step.get("data_wait")
    return [
        f"{rate:,.0f} pictures/s" if rate is not None else "",
        f"waiting {waiting:.0%}" if waiting is not None else "",
    ]


def _times(state: RunState) -> list[str]:
    seconds: Any = state.results.get("seconds") or state.last_step.get("seconds")
    saved = None if state.state == "finished" else state.checkpoint_age
    return [
        f"{duration(seconds)} of training" if seconds else "",
        f"checkpoint {age(saved)} old" if saved is not None else "",
        "" if state.is_alive or state.changed is None else f"last changed {age(state.changed)} ago",
    ]

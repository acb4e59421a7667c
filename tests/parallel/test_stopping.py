"""Signals, in a process of its own for each: what it does with them outlasts any test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import environment

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no such signals there")

BEGIN = """
import os, signal, sys
from swav_cli.parallel.stopping import StopSignal, Terminated, clear_away_when_ended

def send(name): os.kill(os.getpid(), getattr(signal, name))
"""


Ended = Callable[..., tuple[int, str]]


@pytest.fixture
def ended(tmp_path: Path) -> Ended:
    """How a program ends, and what it prints; `start` is what its shell does before."""

    def run(code: str, start: str = "") -> tuple[int, str]:
        (tmp_path / "program.py").write_text(BEGIN + code)
        done = subprocess.run(
            ["sh", "-c", f'{start} exec "$0" -m program', sys.executable],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, env={**environment(), "PYTHONPATH": os.getcwd()},
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


def test_ctrl_c_ends_with_the_chosen_code_wherever_it_comes(ended: Ended) -> None:
    """In code that was made from text: a KeyboardInterrupt itself would make Python end by the signal (-2)."""
    assert ended("""
clear_away_when_ended()
try: exec("send('SIGINT')")
except KeyboardInterrupt: sys.exit(130)
""") == (130, "")  # fmt: skip


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_an_end_from_outside_clears_away_and_a_second_one_does_not_break_that_off(
    name: str, code: int, ended: Ended
) -> None:
    assert ended(f"""
clear_away_when_ended()
try:
    try: send("{name}")
    except Exception: print("taken for damage")
    finally: send("{name}"); print("cleared")
except Terminated as stop: print(stop); sys.exit(stop.exit_code)
""") == (code, f"cleared\nstopped by {name}\n")  # fmt: skip


@pytest.mark.parametrize("name", ["INT", "HUP"])
def test_what_the_caller_had_ignored_stays_ignored(name: str, ended: Ended) -> None:
    code = f"clear_away_when_ended(); send('SIG{name}'); print('here')"
    assert ended(code, f"trap '' {name};") == (0, "here\n")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_first_signal_is_noted_and_a_second_ctrl_c_ends(name: str, ended: Ended) -> None:
    assert ended(f"""
clear_away_when_ended()
try:
    with StopSignal() as stop:
        send("{name}")
        print(signal.Signals(stop.received).name)
        send("SIGINT")
        print("went on")
except KeyboardInterrupt: print("ended")
with StopSignal() as stop: print(stop.received)
""") == (0, f"{name}\nended\n0\n")  # fmt: skip

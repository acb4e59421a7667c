"""How a command of several processes ends, and what is said of those that the system ended."""

from __future__ import annotations

import pytest

from swav_cli.parallel.launching import _exit_code


@pytest.mark.parametrize(
    ("codes", "code", "said"),
    [
        ([2, 1, 1], 2, ""),  # the first failed for a reason of its own, and the others with it
        ([1, 1, 3], 3, ""),
        ([1, 143, -15], 1, ""),
        ([143, 143], 1, ""),
        ([1, -9], 137, "swav: a process was ended by SIGKILL. Go on with the same command\n"),
        ([-6, 1], 134, "swav: a process was ended by SIGABRT (which is how NCCL ends one that waits for another in "
         "vain). Go on with the same command\n"),
        ([-63], 191, "swav: a process was ended by signal 63. Go on with the same command\n"),
    ],
)  # fmt: skip
def test_exit_codes(codes: list[int], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(codes) == code
    assert capsys.readouterr().err == said

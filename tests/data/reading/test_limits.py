"""Whether batches fit into shared memory, and how many files may be open."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from swav_cli.data.reading.limits import Limits, Traffic, batches_ahead, limits, own_processors, why_not_shared

USUAL = Traffic(workers=4, batches=18, bytes_a_batch=1_000_000, tensors_a_batch=4)


@pytest.mark.parametrize(
    ("allowed", "said"),
    [
        (Limits(math.inf, math.inf), None),
        (Limits(18e6, 168), None),
        (Limits(17.9e6, 168), "/dev/shm has 18 MB free of the 18 MB needed (docker run --shm-size=1g gives more)"),
        (Limits(0, math.inf), "/dev/shm has 0 MB free"),
        (Limits(math.inf, 167), "167 files may be open at once of the 168 needed (ulimit -n 336 allows more)"),
    ],
)
def test_why_not_shared(allowed: Limits, said: str | None) -> None:
    why = why_not_shared(USUAL, allowed)
    assert (why is None) == (said is None)
    assert (said or "") in (why or "")


@pytest.mark.parametrize(
    ("workers", "megabytes", "allowed", "ahead"),
    [
        (16, 120, 4e9, 2),  # ImageNet at 256 pictures a GPU: 3.8 GB and no longer 7.7
        (16, 120, 8e9, 4), (16, 120, 3e9, 1), (16, 120, 1e9, 1), (2, 1, 4e9, 4), (0, 120, 4e9, 4), (4, 0, 4e9, 4),
        (16, 120, -1e6, 1),
    ],
)  # fmt: skip
def test_what_is_read_ahead_goes_by_bytes(workers: int, megabytes: int, allowed: float, ahead: int) -> None:
    assert batches_ahead(workers, megabytes * 1_000_000, allowed) == ahead


def test_processors_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = own_processors()
    assert alone >= 1
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(2 * alone))
    assert own_processors() == 0


def test_a_place_that_is_not_there_sets_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limits("/nowhere").shared_bytes == math.inf
    alone = limits("/tmp").shared_bytes
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert limits("/tmp").shared_bytes == pytest.approx(alone / 4, rel=0.2)  # others write there meanwhile


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
@pytest.mark.parametrize(("soft", "hard", "raised"), [(64, 300, 300), (300, 300, 300)])
def test_as_many_files_as_are_allowed(soft: int, hard: int, raised: int) -> None:
    code = (
        "import resource\n"
        "from swav_cli.data.reading.limits import limits\n"
        "print(limits().files, *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    shell = f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$0" "$@"'
    said = subprocess.run(["bash", "-c", shell, sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == [str(raised), str(raised), str(hard)]

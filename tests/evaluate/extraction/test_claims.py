"""A claim has one owner, and another only once that one is gone."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from swav_cli.evaluate.extraction import claims as claims_module
from swav_cli.evaluate.extraction.claims import STALE, Claim, Claims, Lost
from tests.processes import start


@pytest.fixture
def claims(tmp_path: Path) -> Claims:
    return Claims(tmp_path / ".claims")


def taken(claims: Claims, name: str = "a") -> Claim:
    claim = claims.take(name)
    assert claim is not None
    return claim


def by_one_that_is_killed(claims: Claims, *names: str) -> None:
    """Claimed by a process that then ends without a word."""
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom swav_cli.evaluate.extraction.claims import Claims\n"
        "claims = Claims(Path(sys.argv[1]))\nkept = [claims.take(name) for name in sys.argv[2:]]\n"
        "assert all(kept)\nos.kill(os.getpid(), 9)"
    )
    process = start(code, claims.folder, *names, cwd=claims.folder.parent, module="-c")
    _, said = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, said


def as_of_another_machine(place: Path, silent_for: float) -> None:
    owner = json.loads(place.read_text())
    place.write_text(json.dumps({**owner, "machine": "another", "host": "other"}))
    now = place.stat().st_mtime
    os.utime(place, (now - silent_for, now - silent_for))


def always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims_module, "RENEWED", -1.0)


def test_one_has_it_until_it_lets_go(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    always_due(monkeypatch)
    first = taken(claims)
    assert Claims(claims.folder).take("a") is None
    assert claims.owner("a") == f"process {os.getpid()} on {os.uname().nodename}"
    first.renew()
    first.release()
    first.release()
    assert claims.owner("a") is None
    second = taken(claims)
    first.release()  # of what it has no more
    assert Claims(claims.folder).take("a") is None
    second.release()
    claims.clear_up()
    assert not claims.folder.exists()


def test_of_a_killed_owner_it_is_taken_at_once(claims: Claims) -> None:
    by_one_that_is_killed(claims, "a", "b")
    assert claims.owner("a") is None
    first = taken(claims)
    assert claims.take("a") is None
    first.release()


def test_of_another_machine_it_is_taken_after_a_long_silence(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    always_due(monkeypatch)
    first = taken(claims)
    as_of_another_machine(claims.folder / "a", STALE - 60)
    assert claims.take("a") is None
    assert str(claims.owner("a")).endswith("on other")
    first.renew()
    as_of_another_machine(claims.folder / "a", STALE - 60)
    as_of_another_machine(claims.folder / "a", STALE + 60)
    second = taken(claims)
    with pytest.raises(Lost):
        first.renew()
    first.release()
    assert claims.take("a") is None
    second.release()


def test_many_at_once_take_each_from_the_gone_once(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    always_due(monkeypatch)
    names = [f"part-{number}" for number in range(12)]
    by_one_that_is_killed(claims, *names[:8])

    def take_all(start: int) -> list[Claim]:
        own = Claims(claims.folder)
        found = [own.take(name) for name in (*names[start:], *names[:start])]
        return [claim for claim in found if claim is not None]

    takers: list[Callable[[], list[Claim]]] = [lambda start=start: take_all(start) for start in (0, 0, 0, 6)]
    with ThreadPoolExecutor(len(takers)) as pool:
        found = [claim for each in pool.map(lambda take: take(), takers) for claim in each]
    assert len(found) == len(names)
    for claim in found:
        claim.renew()
    assert sorted(path.name for path in claims.folder.iterdir()) == sorted(names)


def test_without_locks_a_claim_that_another_was_quicker_to_take_over_is_given_back(
    claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    always_due(monkeypatch)
    monkeypatch.setattr(claims_module, "held", lambda place: nullcontext())
    monkeypatch.setattr(claims_module, "is_held", lambda place: None)
    first = taken(claims)
    as_of_another_machine(claims.folder / "a", STALE + 60)
    late, rename = Claims(claims.folder), os.rename
    quicker: list[Claim] = []

    def rename_late(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "rename", rename)
        quicker.append(taken(claims))
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_late)
    assert late.take("a") is None
    quicker[0].renew()
    with pytest.raises(Lost):
        first.renew()
    assert [path.name for path in claims.folder.iterdir()] == ["a"]

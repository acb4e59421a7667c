"""What `swav index` does, called from Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from swav_cli.errors import UserError
from swav_cli.tasks.index import index
from tests.data.tars import make_tar


def test_shards_without_pictures_are_refused(tmp_path: Path) -> None:
    make_tar(tmp_path / "a.tar", {"notes.txt": b"none"})
    with pytest.raises(UserError, match="no pictures in 1 shard"):
        index([str(tmp_path / "a.tar")])

"""A run that is not begun, asked from Python."""

from __future__ import annotations

import pytest

from swav_cli.errors import UserError
from swav_cli.tasks.pretrain_plan import plan_pretraining
from tests.conftest import tiny_recipe


def test_a_plan_asks_whether_so_many_processes_can_share_a_batch() -> None:
    recipe = tiny_recipe()
    assert plan_pretraining(recipe, "cpu")["steps"] > 0
    with pytest.raises(UserError, match="processes"):
        plan_pretraining(recipe, "cpu", processes=7)

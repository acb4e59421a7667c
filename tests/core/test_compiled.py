"""`training.compile` changes no number, and leaves processes what they need to reduce gradients on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.compiled import cheaply_compiled, steps
from tests.processes import start_together

SIZES = 2  # of crops


@pytest.mark.parametrize(("parts", "recomputes"), [(1, "false"), (2, "true")])
def test_compiled_steps_equal_plain_ones(parts: int, recomputes: str) -> None:
    more = (f"training.accumulate={parts}",)
    with cheaply_compiled() as graphs:
        compiled = steps("training.compile=true", f"training.checkpoint_activations={recomputes}", *more)
    # Whole: no break. One for the colours of each size of crops, one more for the pass without gradients.
    assert len(graphs) == SIZES + parts
    torch.testing.assert_close(torch.tensor(compiled), torch.tensor(steps(*more)), rtol=1e-6, atol=0)


def test_processes_get_a_graph_for_each_bucket_of_gradients(tmp_path: Path) -> None:
    """One graph would give all gradients at its end, and none could be sent while the others are computed."""
    first, second = start_together(2, cwd=tmp_path, module="tests.compiled")
    out, failed = first.communicate(timeout=300)
    assert (first.returncode, second.wait(100)) == (0, 0), failed[-3000:]
    found = json.loads(out)
    assert len(found["graphs"]) > SIZES + 1
    torch.testing.assert_close(torch.tensor(found["compiled"]), torch.tensor(found["plain"]), rtol=1e-6, atol=0)

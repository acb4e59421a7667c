"""What goes with training and follows it: judging and drawing, none of which may cost what was trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from swav_cli.errors import NotJudged, UserError, is_memory_full
from swav_cli.parallel import distributed
from swav_cli.parallel.processes import met_by_all
from swav_cli.report.console import Screen
from swav_cli.run.folder import RunFolder


@contextmanager
def training_is_saved(folder: RunFolder, screen: Screen) -> Iterator[None]:
    """Around what follows training: however it fails, a person is told that no training is lost.

    Raises:
        NotJudged: for what a person can mend.
    """
    what_next = f"`swav eval {folder.path}` judges it; so does the same command, which trains no more"
    try:
        yield
    except UserError as error:
        raise NotJudged(f"{error}. Training is done and saved in {folder.path}: {what_next}") from None
    except BaseException as error:
        if is_memory_full(error):
            raise NotJudged(
                f"the memory is full. Training is done and saved in {folder.path}: {what_next}; swav eval takes "
                "--batch-size and --device"
            ) from None
        screen.warn(f"the run was not judged to the end. Training is done and saved in {folder.path}: {what_next}")
        raise


def judged_on_the_way(judge: Callable[[], dict[str, Any]], epoch: int, screen: Screen) -> dict[str, Any]:
    """What is found after an epoch; nothing, with a warning, where that fails in all processes: training goes on."""
    try:
        return judge()
    except UserError as error:
        if not met_by_all(f"judging after epoch {epoch + 1}"):
            raise
        screen.warn(f"not judged after epoch {epoch + 1}: {error}")
    except RuntimeError as error:
        if not is_memory_full(error) or distributed.world_size() > 1:  # where the others wait for this one
            raise
        screen.warn(f"not judged after epoch {epoch + 1}: the memory is full")
    return {}

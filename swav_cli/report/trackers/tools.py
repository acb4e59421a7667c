"""Each tracker's tool: TensorBoard by torch's own writer, the others by accelerate's trackers.

What a tool keeps on this disk lies below the run, what it would tell its makers by itself is switched off, and it asks
no question: all of that by its own variables, and what the user has set there holds.
"""

from __future__ import annotations

import logging
import netrc
import os
import shlex
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlparse

import numpy as np
from numpy.typing import NDArray

from swav_cli.recipe.file import AnyRecipe, dump_recipe, flat_values

PROJECT = "swav"

# No reports of use or of errors, by whatever a tool brings along.
SILENT = {
    "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "GRADIO_ANALYTICS_ENABLED": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false",
}  # fmt: skip


class Place(NamedTuple):
    """Whose curves they are, and where a tool's files go."""

    folder: Path  # of this tool, below the run
    name: str  # the run's
    id: str  # the same for as long as the run lasts
    resumed: bool


class TensorBoard:
    """Event files, by torch alone."""

    def __init__(self, place: Place) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.id, self.look = place.id, f"tensorboard --logdir {typed(place.folder)}"
        self._writer: Any = SummaryWriter(str(place.folder))

    def settings(self, recipe: AnyRecipe) -> None:
        self._writer.add_text("recipe", "\n".join(f"    {line}" for line in dump_recipe(recipe).splitlines()))

    def numbers(self, values: dict[str, float], step: int) -> None:
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)
        self._writer.flush()

    def words(self, values: dict[str, str], step: int) -> None:
        for key, value in values.items():
            self._writer.add_text(key, value, step)

    def sheet(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:  # (H, W, 3)
        self._writer.add_image(name, pixels, step, dataformats="HWC")
        self._writer.flush()

    def finish(self) -> None:
        self._writer.close()


class Accelerated:
    """A tool that accelerate knows."""

    def __init__(self, tool: str, place: Place) -> None:
        import accelerate.tracking as known

        # Its own logger asks who of several processes speaks, and would join them anew to know it.
        known.logger = logging.getLogger("accelerate.tracking")
        self.tool, self.id = tool, place.id
        made: dict[str, Any] = {
            "wandb": known.WandBTracker, "trackio": known.TrackioTracker, "mlflow": known.MLflowTracker,
            "swanlab": known.SwanLabTracker,
        }  # fmt: skip
        project, given, self.look = PREPARED[tool](place)
        self._tracker = made[tool](project, **given)
        self._tracker.main_process_only = False  # this is the only one that speaks
        self._tracker.start()
        if tool == "mlflow":
            self.id = self._tracker.tracker.info.run_id

    def settings(self, recipe: AnyRecipe) -> None:
        values = recipe.model_dump(mode="json")
        if self.tool == "mlflow":
            values = {key: str(value)[:500] for key, value in flat_values(recipe).items()}
        self._tracker.store_init_configuration(values)

    def numbers(self, values: dict[str, float], step: int) -> None:
        self._tracker.log(values, step=step)

    def words(self, values: dict[str, str], step: int) -> None:
        if self.tool == "mlflow":
            import mlflow

            mlflow.set_tags(values)
        else:
            self._tracker.store_init_configuration(values)

    def sheet(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:  # (H, W, 3)
        if self.tool == "mlflow":
            import mlflow

            mlflow.log_image(pixels, f"{name}.png")
        elif self.tool == "trackio":
            import trackio

            self._tracker.log({name: trackio.Image(pixels)}, step=step)
        else:
            self._tracker.log_images({name: [pixels]}, step=step)

    def finish(self) -> None:
        if self.tool == "trackio":  # which else would do it once more, and say so, where the process ends
            import trackio

            trackio.finish()  # type: ignore[no-untyped-call,unused-ignore]
        else:
            self._tracker.finish()


Tool = TensorBoard | Accelerated
Prepared = tuple[str, dict[str, Any], str]  # a project's name, what it is started with, how it is looked at


def open_tool(name: str, place: Place) -> Tool:
    """Start a tool, or go on with what it has of a run; whatever it raises is its own."""
    for variable, value in SILENT.items():
        os.environ.setdefault(variable, value)
    place.folder.mkdir(parents=True, exist_ok=True)
    return TensorBoard(place) if name == "tensorboard" else Accelerated(name, place)


def typed(path: str | Path) -> str:
    """As it is typed in a shell."""
    return shlex.quote(str(path))


def _wandb(place: Place) -> Prepared:
    import wandb

    for variable in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        os.environ.setdefault(variable, str(place.folder.resolve()))
    given: dict[str, Any] = {"id": place.id, "resume": "allow", "name": place.name}
    given["dir"] = os.environ.get("WANDB_DIR", str(place.folder))
    look = "see wandb's page"
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    asked = os.environ.get("WANDB_MODE")
    if asked not in ("offline", "dryrun", "disabled") and "WANDB_API_KEY" not in os.environ and not _has_login(host):
        if asked is not None:
            raise ValueError(f"WANDB_MODE={asked}, and no key is there; get one with `wandb login`")
        given["mode"] = asked = "offline"
    if asked in ("offline", "dryrun"):
        look = f"wandb sync {typed(given['dir'])}/wandb/offline-run-*"
    given["settings"] = wandb.Settings(silent=True, console="off", disable_code=True, disable_git=True)
    return os.environ.get("WANDB_PROJECT", PROJECT), given, look


def _has_login(host: str) -> bool:
    """Whether a key for it was kept by `wandb login`; without one it would ask for it, and the run would wait."""
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    with suppress(OSError, netrc.NetrcParseError):
        return netrc.netrc(str(path)).authenticators(host) is not None
    return False


def _trackio(place: Place) -> Prepared:
    os.environ.setdefault("TRACKIO_DIR", str(place.folder.resolve()))  # which it reads where it is imported
    given = {"name": place.name, "resume": "allow", "embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
    return PROJECT, given, f"TRACKIO_DIR={typed(os.environ['TRACKIO_DIR'])} trackio show --project {PROJECT}"


def _mlflow(place: Place) -> Prepared:
    import mlflow

    artifacts = None
    if "MLFLOW_TRACKING_URI" in os.environ:
        uri = os.environ["MLFLOW_TRACKING_URI"]
    else:
        if find_spec("sqlalchemy") is not None:
            uri = f"sqlite:///{place.folder.resolve()}/mlflow.db"
            artifacts = (place.folder / "artifacts").resolve().as_uri()
        else:  # mlflow-skinny, which keeps files alone, and calls that old
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            uri = place.folder.resolve().as_uri()
        mlflow.set_tracking_uri(uri)
    given: dict[str, Any] = {"logging_dir": artifacts, "run_name": place.name}
    if place.resumed:
        given["run_id"] = place.id
    return os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT), given, f"mlflow ui --backend-store-uri {typed(uri)}"


def _swanlab(place: Place) -> Prepared:
    import swanlab

    mode = os.environ.get("SWANLAB_MODE")
    home = Path(os.environ.get("SWANLAB_SAVE_DIR", "~/.swanlab")).expanduser()
    if mode is None:
        has_login = "SWANLAB_API_KEY" in os.environ or (home / ".netrc").exists()
        mode = "online" if has_login else "offline"
    folder = os.environ.get("SWANLAB_LOG_DIR", str(place.folder))
    given: dict[str, Any] = {"mode": mode, "name": place.name, "log_dir": folder}
    given["settings"] = swanlab.Settings(
        interactive=False, probe=swanlab.Settings.Probe(git=False, requirements=False, monitor=False)
    )
    if mode in ("online", "cloud"):
        given |= {"id": place.id, "resume": "allow"}
    look = f"swanlab sync {typed(folder)}/run-*" if mode == "offline" else "see swanlab's page"
    return os.environ.get("SWANLAB_PROJ_NAME", PROJECT), given, look


PREPARED = {"wandb": _wandb, "trackio": _trackio, "mlflow": _mlflow, "swanlab": _swanlab}

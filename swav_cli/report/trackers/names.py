"""Which trackers there are, and what each needs; nothing of theirs is imported here."""

from __future__ import annotations

from importlib.util import find_spec

from swav_cli.errors import UserError, nearest

# The package of each, and what installs it. TensorBoard is written to by torch itself.
PACKAGES = {
    "tensorboard": ("tensorboard", "'swav-cli[track]'"),
    "wandb": ("wandb", "'swav-cli[track]' wandb"),
    "trackio": ("trackio", "'swav-cli[track]' trackio"),
    "mlflow": ("mlflow", "'swav-cli[track]' mlflow"),
    "swanlab": ("swanlab", "'swav-cli[track]' swanlab"),
}
NONE = "none"


def tracker_names(written: str | None, option: str) -> list[str] | None:
    """The trackers of `--track tensorboard,wandb`, all of which are installed; None where nothing is written.

    >>> tracker_names("none", "--track"), tracker_names(None, "--track")
    ([], None)

    Raises:
        UserError: there is none of that name, or it is not installed.
    """
    if written is None:
        return None
    names = [name for each in written.split(",") if (name := each.strip().lower())]
    if names == [NONE]:
        return []
    if not names:
        raise UserError(f"{option} '{written}': name trackers, such as tensorboard, or none")
    for name in names:
        check_installed(name, option)
    return list(dict.fromkeys(names))


def check_installed(name: str, option: str) -> None:
    """
    Raises:
        UserError: there is no tracker of that name, or it is not installed.
    """
    if name not in PACKAGES:
        raise UserError(f"{option} {name}: no such tracker.{nearest(name, PACKAGES)} There are {', '.join(PACKAGES)}")
    package, wanted = PACKAGES[name]
    needed = (package,) if name == "tensorboard" else (package, "accelerate")
    missing = [each for each in needed if find_spec(each) is None]
    if missing:
        raise UserError(f"{option} {name}: needs {' and '.join(missing)}; pip install {wanted}")

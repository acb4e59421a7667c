"""A page from its template: one file that holds all it needs, its style, its scripts and its pictures."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swav_cli.data.folders.own_results import PAGE, is_page
from swav_cli.errors import UserError
from swav_cli.files import write_text
from swav_cli.printable import printable_lines
from swav_cli.writable import check_place, is_pipe_or_device

if TYPE_CHECKING:
    from bokeh.model import Model as Drawing
    from jinja2 import Environment

HERE = Path(__file__).parent
NEEDED = ("jinja2", "bokeh")


def missing_for_pages() -> str:
    """What pages need and is not here, in words; empty where all is."""
    if all(find_spec(name) is not None for name in NEEDED):
        return ""
    return "pages need swav-cli with its extra `report`: pip install 'swav-cli[report]'"


def check_pages() -> None:
    """
    Raises:
        UserError: a library that makes pages is not installed.
    """
    if missing := missing_for_pages():
        raise UserError(missing)


def check_page_place(path: Path, overwrite: bool) -> None:
    """
    Raises:
        UserError: nothing can be written there, or a file is there that is no page of ours.
    """
    check_place(path, "--out")
    if os.path.exists(path) and not overwrite and not is_pipe_or_device(path) and not is_page(str(path)):
        raise UserError(f"{path}: is there, and no page that swav has made; name another, or give --overwrite")


def render_page(template: str, drawings: Mapping[str, Drawing], **values: Any) -> str:
    """The page's text.

    Args:
        template: its file's name below `templates/`.
        drawings: of bokeh, by the id of the element that each is put into.
        values: what the template names. Text is escaped, whatever it holds; see `shown`.
    """
    items = {name: drawing_text(drawing, name) for name, drawing in drawings.items()}
    body = environment().get_template(template).render(
        mark=PAGE, style=_style(), bokeh=_bokeh(bool(drawings)), drawings=items, nonce="", **values
    )  # fmt: skip
    # Scripts run that carry the word which the page's head allows, and no other: not one that a file's name brings.
    nonce = hashlib.sha256(body.encode(errors="replace")).hexdigest()[:32]
    return body.replace('nonce=""', f'nonce="{nonce}"').replace("'nonce-'", f"'nonce-{nonce}'")


def made() -> dict[str, str]:
    """What every page says at its foot."""
    return {"version": version("swav-cli"), "made": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")}


def save_page(path: Path, text: str) -> None:
    """Whole or not at all. Raises UserError where it can't be written."""
    write_text(path, text)


def shown(value: Any) -> Any:
    """Text as a page shows it: without what no browser can show, and with ~ for the home folder.

    >>> shown("cat\\udc80.jpg"), shown(Path.home() / "photos"), shown(3)
    ('cat\\\\udc80.jpg', '~/photos', 3)
    """
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return _home().sub("~", printable_lines(value))


@cache
def _home() -> re.Pattern[str]:
    home = os.path.expanduser("~").rstrip("/\\")
    return re.compile(rf"(?<![\w/.-]){re.escape(home)}(?![\w.-])") if len(home) > 1 else re.compile(r"(?!)")


@cache
def environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _style() -> str:
    return (HERE / "style.css").read_text(encoding="utf-8")


def _bokeh(needed: bool) -> str:
    """The library's own script, so that the browser fetches nothing."""
    if not needed:
        return ""
    from bokeh.resources import Resources

    return "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)


def drawing_text(drawing: Drawing, element: str) -> str:
    """What bokeh's script builds a drawing of, in the element of that id."""
    from bokeh.embed import json_item

    return data_text(json_item(drawing, element))


def data_text(value: Any) -> str:
    """JSON for a script of the page; no `<` is in it, so that it can't end the element that holds it.

    >>> data_text({"name": "</script>"})
    '{"name":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")

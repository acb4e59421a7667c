"""Files that list pictures, read one way wherever one is taken: lists (a name a line) and tables (RFC 4180).

Lines end with LF, CR LF or CR, and with nothing else: names may hold U+2028, form feeds and the like, of which
`str.splitlines` makes several lines.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from swav_cli.data.decoding.formats import SUFFIXES
from swav_cli.data.paths import expanded
from swav_cli.errors import UserError

TABLES = (".csv", ".tsv")
RECORDS = (".jsonl", ".ndjson")  # an object of JSON a line
LISTS = (".txt", *TABLES, *RECORDS)  # suffixes of files that list pictures
# Headings of a column of names, the likeliest first; written in any case, and with blanks, dots or hyphens as well.
NAMES = (
    "path", "file_name", "image", "filename", "image_path", "img_path", "file_path", "filepath", "image_file",
    "image_name", "img", "picture", "photo", "file", "name",
)  # fmt: skip
LABELS = ("label", "class", "target", "category")  # of a column of classes
TRIED = 1_000  # rows, to see whether a column holds names
LONGEST_CELL = 2**31 - 1  # what a long holds on every system
PRIVATE = range(0xE000, 0xF900)  # letters without a meaning
# What some reader takes for the end of a line: a name that holds one of them is written with escapes.
ENDS = re.compile("[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")
ESCAPE = re.compile(r"\\(?:n|r|\\|x[0-9a-f]{2}|u[0-9a-f]{4})")
SHORT = {"\n": r"\n", "\r": r"\r", "\\": r"\\"}

IsThere = Callable[[str], bool]


def beside(path: Path) -> IsThere:
    """Whether there is a file of a name that starts at a list's own folder; a link that leads nowhere is one."""

    def is_there(name: str) -> bool:
        place = os.path.join(path.parent, name)
        return os.path.lexists(place) and not os.path.isdir(place)

    return is_there


class Row(NamedTuple):
    line: int  # in which it ends
    cells: list[str]


class Listed(NamedTuple):
    """What a file lists, in its order."""

    names: list[str]  # as they are written, `~` expanded
    lines: list[int]
    labels: list[str] | None  # "" where a row has none; None where there is no such column


# --- lines --------------------------------------------------------------------------------------------------------


def one_line(name: str) -> str:
    """A name on one line for any reader; `read_list` finds the picture by it again.

    >>> one_line("icon\\r.png")
    'icon\\\\r.png'
    """
    return re.sub(rf"{ENDS.pattern}|\\", lambda found: _escaped(found[0]), name) if ENDS.search(name) else name


def _escaped(letter: str) -> str:
    code = ord(letter)
    return SHORT.get(letter) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def _unescaped(line: str) -> str:
    words = {escape: letter for letter, escape in SHORT.items()}
    return ESCAPE.sub(lambda found: words.get(found[0]) or chr(int(found[0][2:], 16)), line)


def split_lines(text: str, is_there: IsThere) -> list[str]:
    """Lines by LF, CR LF or CR; but a name with a CR in it, as `ls` writes it, is one where there is such a file."""
    lines: list[str] = []
    for line in re.split("\r\n|\n", text):
        lines += [line] if "\r" not in line or is_there(line) else line.split("\r")
    return lines


def read_listed(path: Path, is_there: IsThere) -> Listed:
    """What a file lists, of any of the kinds; one without a known suffix is a list.

    Raises:
        UserError: it can't be read, no column holds names, or a row has none.
    """
    suffix = path.suffix.lower()
    if suffix in TABLES:
        return listed_in(str(path), *read_rows(path, is_there), is_there)
    return listed_in(str(path), *read_records(path), is_there) if suffix in RECORDS else read_list(path, is_there)


# --- lists --------------------------------------------------------------------------------------------------------


def read_list(path: Path, is_there: IsThere) -> Listed:
    """A name a line. Empty lines and those that begin with # are none, but where a picture is called so.

    Raises:
        UserError: it can't be read.
    """
    names: list[str] = []
    lines: list[int] = []
    for number, line in enumerate(split_lines(_text(path), is_there), start=1):
        name = as_written(line, is_there)
        if name and not (name.startswith("#") and not is_there(name)):
            names.append(name)
            lines.append(number)
    return Listed(names, lines, None)


def as_written(line: str, is_there: IsThere) -> str:
    """The name that a line or a cell means: its blanks, escapes and ~ are its own where there is such a file."""
    plain = line.strip()
    if plain == line and not {"\\", "~"} & set(plain):
        return plain
    if is_there(line):
        return line
    if "\\" in plain and not is_there(plain):
        for meant in (_unescaped(plain), plain.replace("\\", "/")):  # our own lists, and those of Windows
            if meant != plain and is_there(meant):
                return meant
    return str(expanded(plain)) if plain.startswith("~") and not is_there(plain) else plain


# --- tables -------------------------------------------------------------------------------------------------------


def read_records(path: Path) -> tuple[list[str], list[Row]]:
    """The keys of a file with an object of JSON a line, in small letters, and its objects as rows.

    Raises:
        UserError: it can't be read, or a line is no object.
    """
    objects: list[tuple[int, dict[str, Any]]] = []
    for line, text in enumerate(_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise UserError(f"{path}: line {line:,} is no object of JSON")
        objects.append((line, found))
    keys = list(dict.fromkeys(key for _, found in objects for key in found))
    return [heading_word(key) for key in keys], [
        Row(line, [cell_of(found.get(key)) for key in keys]) for line, found in objects
    ]


def cell_of(value: Any) -> str:
    """A value of another kind of file as a cell; nothing for what is neither a text nor a number.

    3.0 is 3: tables that hold a gap somewhere keep whole numbers so.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value) if isinstance(value, (str, int, float)) else ""


def listed_in(source: str, heading: Sequence[str], rows: Sequence[Row], is_there: IsThere) -> Listed:
    """Names and labels in rows of whatever origin: names are in the column headed `path` or a word like it, else in the
    first that holds pictures.

    Raises:
        UserError: no column holds names, or a row has none.
    """
    column = name_column(heading, [row.cells for row in rows], is_there)
    if column is None:
        raise UserError(f"{source}: no column of it holds names of pictures ({', '.join(sorted(SUFFIXES))})")
    unnamed = [row.line for row in rows if not _cell(row, column)]
    if unnamed:
        raise UserError(
            f"{source}: line {unnamed[0]:,} names no picture, as {len(unnamed):,} of its {len(rows):,} rows do; name "
            "one, or remove it"
        )
    names = [as_written(row.cells[column], is_there) for row in rows]
    labelled = _headed(heading, LABELS, lambda position: position != column)
    labels = None if labelled is None else [_cell(row, labelled) for row in rows]
    return Listed(names, [row.line for row in rows], labels)


def read_rows(path: Path, is_there: IsThere) -> tuple[list[str], list[Row]]:
    """The heading of a table in small letters, empty where it has none, and its rows that are not empty.

    Raises:
        UserError: it can't be read, or is no table.
    """
    rows = [row for row in _parsed(path, _text(path), is_there) if any(cell.strip() for cell in row.cells)]
    remarks = 0  # some programs write about a table above its heading
    while remarks < len(rows) and rows[remarks].cells[0].startswith("#") and not is_there(rows[remarks].cells[0]):
        remarks += 1
    if remarks < len(rows) and _is_heading(rows[remarks].cells, is_there):
        return [heading_word(cell) for cell in rows[remarks].cells], rows[remarks + 1 :]
    return [], rows


def name_column(heading: Sequence[str], rows: Sequence[Sequence[str]], is_there: IsThere) -> int | None:
    """Which column holds names of pictures; None where none does."""

    def holds_names(column: int) -> bool:
        return any(_is_name(row[column], is_there) for row in rows[:TRIED] if len(row) > column)

    named = _headed(heading, NAMES, holds_names)
    if named is not None:
        return named
    width = max(map(len, rows), default=0)
    pictures = (column for row in rows for column, cell in enumerate(row) if _is_picture(cell))
    return next(pictures, next((column for column in range(width) if holds_names(column)), None))


def _headed(heading: Sequence[str], words: Sequence[str], fits: Callable[[int], bool]) -> int | None:
    """The column that has the first of the words above it."""
    places = (place for word in words for place, cell in enumerate(heading) if cell == word and fits(place))
    return next(places, None)


def _is_heading(cells: Sequence[str], is_there: IsThere) -> bool:
    """A first row of words above the columns, and not of a picture."""
    if any(_is_picture(cell) or (cell.strip() and is_there(cell)) for cell in cells):
        return False
    known = any(heading_word(cell) in (*NAMES, *LABELS) for cell in cells)
    return known or not any(_is_name(cell, is_there) for cell in cells)


def heading_word(cell: str) -> str:
    """A heading as `NAMES` and `LABELS` have it."""
    return re.sub(r"[ .\-]+", "_", cell.strip().lower())


def _cell(row: Row, column: int) -> str:
    return row.cells[column].strip() if len(row.cells) > column else ""


def _is_picture(cell: str) -> bool:
    return os.path.splitext(cell.strip())[1].lower() in SUFFIXES


def _is_name(cell: str, is_there: IsThere) -> bool:
    """Also of a file that is no picture, or not there: which of them can be read is for the reader to tell."""
    return _is_picture(cell) or re.search(r"\.[A-Za-z][A-Za-z0-9]{0,4}$", cell.strip()) is not None or (
        bool(cell.strip()) and is_there(cell)
    )  # fmt: skip


def _parsed(path: Path, text: str, is_there: IsThere) -> list[Row]:
    """Rows of cells. A CR ends a row, but within a name of a file that is there, as some programs write it unquoted."""
    if "\r" in text.replace("\r\n", ""):
        mark = next(chr(code) for code in PRIVATE if chr(code) not in text)
        marked = re.sub("[^\n,;\t]+", lambda cell: _marked(cell[0], mark, is_there), text)
        if marked != text:
            rows = _parsed(path, marked, is_there)
            return [Row(row.line, [cell.replace(mark, "\r") for cell in row.cells]) for row in rows]
    if path.suffix.lower() == ".tsv":
        try:
            return _csv(path, text, "\t")
        except UserError:  # many programs write such tables without any quoting
            return _csv(path, text, "\t", csv.QUOTE_NONE)
    delimiter, text = _delimiter(text, is_there)
    return _csv(path, text, delimiter)


def _marked(cell: str, mark: str, is_there: IsThere) -> str:
    """A cell with the mark in place of the CRs that are part of a file's name."""
    name = cell.removesuffix("\r")
    return name.replace("\r", mark) + cell[len(name) :] if "\r" in name and is_there(name) else cell


def _delimiter(text: str, is_there: IsThere) -> tuple[str, str]:
    """Semicolons where the first line has no comma, as spreadsheets write in much of Europe; and what is to be read."""
    first = next(iter(re.split("[\r\n]", text, maxsplit=1)))
    told = re.fullmatch("sep=(.)", first)
    if told:
        return told[1], text[len(first) :]
    others = [mark for mark in ";\t" if mark in first]
    return ("," if "," in first or not others or is_there(first) else others[0]), text


def _csv(path: Path, text: str, delimiter: str, quoting: Literal[0, 3] = csv.QUOTE_MINIMAL) -> list[Row]:
    """Strictly: a quotation mark that is never closed would swallow all that follows."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        return [Row(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num:,} can't be read ({error})") from None
    finally:
        csv.field_size_limit(limit)


def _text(path: Path) -> str:
    """
    Raises:
        UserError: it can't be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as spreadsheets write "Unicode text"
        return content.decode("utf-16", errors="replace")
    return content.decode("utf-8-sig", errors="surrogateescape")

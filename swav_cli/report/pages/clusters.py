"""The page of clusters: a map of all pictures, groups, copies side by side, odd ones, and what can't be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from swav_cli.errors import Told, counted, silent
from swav_cli.evaluate.clustering.found import SHOWN, Found, Group
from swav_cli.report.pages.map import draw_map, group_colour
from swav_cli.report.pages.page import data_text, made, render_page, shown
from swav_cli.report.pages.results import Table
from swav_cli.report.pages.thumbnails import ACROSS, SIDE, Thumbnails, thumbnails

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure

Places = NDArray[np.float32]  # (N, 2) of the pictures on the map, NaN for those that are not on it

MOST_SHOWN = 3000  # pictures of groups
MOST_GROUPS = 500  # with pictures; of smaller ones the size alone is told
MOST_SETS, OF_A_SET = 150, 6  # copies
MOST_ODD, MOST_UNREAD = 96, 50
MOST_DOTS = 100_000  # on the map
POINTED_AT = 20_000  # dots of the map that have a picture of their own
LARGEST_TILES = {2_000: 96, 8_000: 64, 20_000: 48}  # pixels of those, by how many there are


class Sections(NamedTuple):
    """What a page tells of clusters, as plain values: the report of a run may show it too."""

    values: dict[str, Any]  # what the template's sections name
    dots: dict[str, list[Any]]  # of the map: x, y, the place of the group of each, and names of the groups

    @property
    def drawings(self) -> dict[str, Figure]:
        """The map, by the id of its element; none of too few pictures."""
        if not self.values.get("has_map"):
            return {}
        places = np.array([self.dots["x"], self.dots["y"]], dtype=np.float32).T
        return {"map": draw_map(places, np.array(self.dots["group"], dtype=np.int64), self.dots["names"])}


def clusters_page(sections: Sections) -> str:
    """The page's text."""
    return render_page(
        "clusters.html", sections.drawings, sections=anchors(sections.values), **made(), **sections.values
    )


def clusters_sections(
    found: Found, places: Places, about_the_map: str, workers: int = 0, progress: Told = silent
) -> Sections:
    """
    Args:
        places: see `lay_out`.
        about_the_map: how it was made, in a sentence.
        workers: processes that read pictures.
        progress: told of pictures read for the page, and of pictures in all.
    """
    chosen = _Chosen(found)
    on_map = np.flatnonzero(found.read & np.isfinite(places).all(axis=1))
    small = thumbnails(
        found.pictures, chosen.all, pointed_at(on_map, chosen.all), tile_side(len(on_map)), workers, progress
    )
    names = [str(group.number) for group in found.groups if group.number >= 0]
    position = {group.number: place for place, group in enumerate(found.groups) if group.number >= 0}
    own = np.array([position.get(number, -1) for number in found.group[on_map].tolist()], dtype=np.int64)
    count = len(names)
    values = {
        "title": f"{counted(len(found.paths), 'picture')} in {counted(count, 'group')}",
        "facts": f"{found.pictures.source}, by the model {found.model}: {found.clusters:,} clusters ({found.kind})",
        "has_map": len(on_map) > 2,
        "map_words": f"{_share_on_map(found, len(on_map))}{about_the_map}",
        "side": SIDE,
        "groups": [_group(found, group, chosen, small) for group in found.groups[:MOST_GROUPS]],
        "smaller": [f"{group.number} ({len(group.pictures)})" for group in found.groups[MOST_GROUPS:]],
        "judged": [table._asdict() for table in _judged(found)],
        "copies": list(_sets(found, chosen, small)),
        "copies_words": _copies_words(found),
        "odd": [_shown(found, small, index) for index in chosen.odd if index in small.shown],
        "odd_words": _odd_words(found, chosen),
        "unread": [f"{found.paths[i]}: {found.errors[i]}" for i in np.flatnonzero(~found.read)[:MOST_UNREAD].tolist()],
        "unread_words": f"{counted(int((~found.read).sum()), 'picture')}; their rows in the table say why.",
        "told": _told(found, on_map, own, small),
    }
    x, y = (places[on_map, axis].round(4).tolist() for axis in range(2))
    return Sections(values, {"x": x, "y": y, "group": own.tolist(), "names": names})


def _share_on_map(found: Found, count: int) -> str:
    in_all = int(found.read.sum())
    return f"{count:,} of {in_all:,} pictures, evenly spread, have one. " if count < in_all else ""


def tile_side(count: int) -> int:
    return next((side for most, side in LARGEST_TILES.items() if count <= most), 40)


def pointed_at(on_map: NDArray[np.int64], chosen: Sequence[int]) -> list[int]:
    """Pictures that the map shows where one points: all of them, or those that the page shows and an even share."""
    if len(on_map) <= POINTED_AT:
        return [int(index) for index in on_map]
    evenly = on_map[np.linspace(0, len(on_map) - 1, POINTED_AT - len(chosen), dtype=int)].tolist()
    return sorted({*evenly, *chosen})


class _Chosen:
    """Pictures that stand by themselves on the page."""

    def __init__(self, found: Found) -> None:
        groups = found.groups[:MOST_GROUPS]
        self.each = max(3, min(SHOWN, MOST_SHOWN // (2 * max(1, len(groups)))))
        self.sets = [(kept, others[:OF_A_SET], others[OF_A_SET:]) for kept, others in found.copies[:MOST_SETS]]
        self.odd = found.odd[:MOST_ODD].tolist()
        wanted = {index for group in groups for index in (*self.typical(group), *self.doubtful(group))}
        wanted |= {index for kept, others, _ in self.sets for index in (kept, *others)}
        self.all = sorted(wanted | set(self.odd))

    def typical(self, group: Group) -> list[int]:
        return group.typical[: self.each]

    def doubtful(self, group: Group) -> list[int]:
        """Those that are not typical as well, as in small groups all are."""
        return [index for index in group.doubtful[: self.each] if index not in self.typical(group)]


def _group(found: Found, group: Group, chosen: _Chosen, small: Thumbnails) -> dict[str, Any]:
    share = len(group.pictures) / max(1, int(found.read.sum()))
    words = f"{counted(len(group.pictures), 'picture')}, {share:.1%}"
    if group.commonest is not None and group.purity is not None:
        words += f"; {group.purity:.1%} of them {group.commonest}"
    place = next(place for place, each in enumerate(found.groups) if each is group)
    return {
        "title": f"Group {group.number}" if group.number >= 0 else "In no group",
        "words": words,
        "colour": group_colour(place if group.number >= 0 else -1),
        "typical": [_shown(found, small, index) for index in chosen.typical(group) if index in small.shown],
        "doubtful": [_shown(found, small, index) for index in chosen.doubtful(group) if index in small.shown],
    }


def _shown(found: Found, small: Thumbnails, index: int, more: str = "") -> dict[str, str]:
    """A picture, with its name and what is known of it, a line each."""
    return {"address": small.shown[index], "words": f"{shown(found.paths[index])}\n{more or _known(found, index)}"}


def _known(found: Found, index: int) -> str:
    words = f"cluster {found.cluster[index]} ({found.probability[index]:.0%}), group {found.group[index]}"
    if found.labels is not None and found.classes is not None:
        words += f", class {shown(found.classes[found.labels[index]])}"
    return words + (f", odd ({found.outlier[index]:.2f})" if found.is_outlier[index] else "")


def _sets(found: Found, chosen: _Chosen, small: Thumbnails) -> Iterator[dict[str, Any]]:
    for kept, others, more in chosen.sets:
        if kept in small.shown:
            copies = [index for index in others if index in small.shown]
            yield {
                "kept": _shown(found, small, kept, "keep"),
                "others": [_shown(found, small, index, _likeness(found, index)) for index in copies],
                "more": len(more),
            }


def _likeness(found: Found, index: int) -> str:
    return "the same pixels" if found.exact[index] else f"cosine {found.similarity[index]:.3f}"


def _copies_words(found: Found) -> str:
    sets, others = len(found.copies), int((~found.keep).sum())
    exact = int(found.exact.sum())
    words = f"{counted(others, 'picture')} that others stand for, {exact:,} of them exact, in {counted(sets, 'set')}"
    return f"{words}; the {MOST_SETS} largest are here." if sets > MOST_SETS else f"{words}."


def _odd_words(found: Found, chosen: _Chosen) -> str:
    words = f"{counted(len(found.odd), 'picture')} that no others are near to, the oddest first"
    return f"{words}; the first {len(chosen.odd)} are here." if len(found.odd) > len(chosen.odd) else f"{words}."


def _judged(found: Found) -> Iterator[Table]:
    names = {"clusters": "Clusters", "groups": "Groups", "as_many_groups_as_classes": "As many groups as classes"}
    rows = [
        [
            f"{names[key]} ({each['groups']})", f"{100 * each['accuracy']:.1f}", f"{each['nmi']:.3f}",
            f"{each['adjusted_rand']:.3f}", f"{100 * each['purity']:.1f}",
        ]
        for key, each in found.judged.items()
        if key in names
    ]  # fmt: skip
    if rows:
        yield Table(
            "Against classes",
            ["", "accuracy, %", "NMI", "adjusted Rand", "purity, %"],
            rows,
            ["accuracy by the best matching of groups and classes; folders are the classes"],
        )
    weak = found.judged.get("groups", {}).get("weakest", [])
    if weak:
        pairs = [[f"{pair['first']} and {pair['second']}", f"{100 * pair['together']:.0f} %"] for pair in weak]
        yield Table("Classes that are oftenest in one group", ["", "together"], pairs)


def _told(found: Found, on_map: NDArray[np.int64], own: NDArray[np.int64], small: Thumbnails) -> str:
    """What the page's script knows of the dots; no `<` is in it, so that it can't end the element that holds it."""
    dot = {index: number for number, index in enumerate(on_map.tolist())}
    labels, classes = found.labels, found.classes
    told = {
        "names": [shown(found.paths[index]) for index in on_map.tolist()],
        "of": own.tolist(),
        "groups": [f"group {group.number}" for group in found.groups if group.number >= 0],
        "more": []
        if labels is None or classes is None
        else [f"class {shown(classes[labels[index]])}" for index in on_map.tolist()],
        "tiles": [dot[index] for index in small.tiles],
        "sheets": small.sheets,
        "side": small.side,
        "across": ACROSS,
    }
    return data_text(told)


def anchors(values: dict[str, Any]) -> list[tuple[str, str]]:
    there = {
        "the-map": ("Map", values["has_map"]),
        "groups": ("Groups", True),
        "classes": ("Classes", values["judged"]),
        "copies": ("Copies", values["copies"]),
        "odd": ("Odd pictures", values["odd"]),
        "unread": ("Unread", values["unread"]),
    }
    return [(anchor, words) for anchor, (words, found) in there.items() if found]

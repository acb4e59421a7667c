"""The pictures: how many, which can't be read, their sizes, kinds and classes, copies, and what is too small."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from swav_cli.core.verdict import COPIES
from swav_cli.data.pictures import Pictures
from swav_cli.errors import counted
from swav_cli.recipe.part import borne
from swav_cli.recipe.schema import Recipe
from swav_cli.recipe.sections import CropRecipe
from swav_cli.report.checkup import Check
from swav_cli.tasks.doctor.look import Look

FEW = 100  # pictures, below which there is little to learn from
SHOWN = 3  # names of a kind
LISTED = 100  # the same for programs
UNEVEN = 10  # times as many pictures as the smallest class has
ENLARGED = 1.25  # times a crop is larger than the largest part of a picture that it can show
REMOVE_COPIES = "remove them: each counts as a picture of its own (swav clusters --print delete lists them)"
SMALL_SHARE = 0.05  # of pictures that are too small, which training bears
MOST_OF_THEM = 0.5


def check_pictures(pictures: Pictures, recipe: Recipe, look: Look) -> list[Check]:
    """All of them, in an order in which a person would ask."""
    return [
        check_count(pictures, look),
        *([Check("remarks", "ok", "; ".join(pictures.remarks))] if pictures.remarks else []),
        check_readable(pictures, look, recipe.data.max_bad),
        *([check_sizes(look), check_small(pictures, look, recipe.crops)] if look.seen else []),
        *([check_kinds(look, recipe.data.channels)] if look.seen else []),
        check_classes(pictures),
        check_copies(pictures, look),
    ]


def sampled(look: Look) -> str:
    """Of how many something is told."""
    return "" if look.is_whole else f" (of {look.count:,} looked at)"


def check_count(pictures: Pictures, look: Look) -> Check:
    count, values = look.total, {"pictures": look.total, "looked_at": look.count, "source": pictures.source}
    told = f"{counted(count, 'picture')} of {pictures.source}"
    told += ", all looked at" if look.is_whole else f", a sample of {look.count:,} looked at"
    if count < FEW:
        return Check("count", "warning", told, f"give at least {FEW}; more pictures teach more", values)
    return Check("count", "ok", told, values=values)


def check_readable(pictures: Pictures, look: Look, most: float) -> Check:
    """
    Args:
        most: share of unreadable pictures that a run bears.
    """
    share = len(look.bad) / max(1, look.count)
    listed = [{"path": pictures.name(index), "reason": why} for index, why in list(look.bad.items())[:LISTED]]
    values = {"unreadable": len(look.bad), "share": share, "first": listed}
    if not look.bad:
        return Check("readable", "ok", f"all{sampled(look)}", values=values)
    named = "; ".join(f"{pictures.below(index)}: {why}" for index, why in list(look.bad.items())[:SHOWN])
    more = f"; and {len(look.bad) - SHOWN:,} more" if len(look.bad) > SHOWN else ""
    told = f"{counted(len(look.bad), 'picture')} can't be read{sampled(look)}: {named}{more}"
    if len(look.bad) > borne(most, look.count):
        return Check(
            "readable", "problem", f"{told}; a run stops at data.max_bad ({most:g})",
            f"mend or remove them, or --set data.max_bad={math.ceil(100 * share + 1) / 100:g}", values,
        )  # fmt: skip
    return Check("readable", "warning", told, "mend or remove them; a run takes others in their place", values)


def check_sizes(look: Look) -> Check:
    """By area."""
    order = np.argsort(look.sizes.prod(axis=1), kind="stable")
    small, median, large = (look.sizes[order[place]].tolist() for place in (0, len(order) // 2, -1))
    shown = {
        word: f"{width}x{height}"
        for word, (height, width) in (("smallest", small), ("median", median), ("largest", large))
    }
    told = ", ".join(f"{word} {each}" for word, each in shown.items())
    if len({*map(tuple, look.sizes.tolist())}) == 1:
        told = f"all {shown['median']}"
    values = {"smallest": small, "median": median, "largest": large}
    return Check("sizes", "ok", f"{told} pixels{sampled(look)}", values=values)


def enlargement(sizes: NDArray[np.int64], crop: CropRecipe) -> NDArray[np.float64]:  # (N, 2) -> (N,)
    """How many times a crop's side is that of the largest part of each picture which it can show."""
    areas = sizes.prod(axis=1).astype(np.float64)
    found: NDArray[np.float64] = crop.size / np.sqrt(crop.scale[1] * areas)
    return found


def check_small(pictures: Pictures, look: Look, crops: Sequence[CropRecipe]) -> Check:
    """Pictures of which even the largest part has to be enlarged to fill a crop."""
    found = np.stack([enlargement(look.sizes, crop) for crop in crops])  # (crops, N)
    small = np.flatnonzero((found > ENLARGED).any(axis=0))
    share = len(small) / len(look.seen)
    kind = int(found.max(axis=1).argmax())
    names = [pictures.name(look.seen[place].number) for place in small[:LISTED]]
    shown = [pictures.below(look.seen[place].number) for place in small[:SHOWN]]
    values = {"too_small": len(small), "share": share, "first": names}
    if not len(small):
        return Check("size for crops", "ok", f"large enough for all crops{sampled(look)}", values=values)
    told = (
        f"{counted(len(small), 'picture')} ({share:.0%}){sampled(look)} too small for crops.{kind} of "
        f"{crops[kind].size} pixels, and enlarged up to {found.max():.1f} times: {', '.join(shown)}"
        f"{' …' if len(small) > SHOWN else ''}"
    )
    fitting = int(crops[kind].size / np.median(found[kind]) // 8 * 8)
    if share < SMALL_SHARE:
        return Check("size for crops", "ok", f"{told}; so few do no harm", values=values)
    if share < MOST_OF_THEM:
        return Check("size for crops", "warning", told, "remove the small ones, or smaller crops", values)
    smaller = f"--set crops.{kind}.size={fitting}" if 8 <= fitting < crops[kind].size else "smaller crops"
    return Check("size for crops", "warning", told, f"{smaller}, or larger pictures", values)


def check_kinds(look: Look, channels: int) -> Check:
    """Formats and modes of files; of others whether they are gray."""
    kinds = look.kinds.most_common()
    told = ", ".join(f"{kind} {count:,}" for kind, count in kinds[:5]) + (" …" if len(kinds) > 5 else "")
    if not told:
        told = "gray" if look.gray == 1 else "colour" if not look.gray else f"{look.gray:.0%} gray"
    elif look.gray and channels > 1:
        told += f"; {look.gray:.0%} without colour"
    values = {"kinds": dict(kinds), "gray_share": look.gray}
    return Check("modes", "ok", f"{told}{sampled(look)}", values=values)


def check_classes(pictures: Pictures) -> Check:
    """Folders or labels as classes, and how unevenly pictures lie in them. Training uses none."""
    if pictures.labels is None or pictures.classes is None:
        why = f": {pictures.unlabelled}" if pictures.unlabelled else ""
        return Check("classes", "ok", f"none{why}; training needs none")
    counts = np.bincount(pictures.labels, minlength=len(pictures.classes))
    least, most = int(counts.argmin()), int(counts.argmax())
    times = counts[most] / max(1, counts[least])
    told = f"{counted(len(pictures.classes), 'class', 'classes')} of {counts[least]:,}"
    if least != most:
        told += f" ({pictures.classes[least]}) to {counts[most]:,} ({pictures.classes[most]})"
    told += " pictures each" if least == most else " pictures"
    values = {
        "classes": len(counts), "smallest": int(counts[least]), "largest": int(counts[most]), "times": float(times),
    }  # fmt: skip
    if len(counts) > 1 and times >= UNEVEN:
        return Check(
            "classes", "warning", f"{told}, {times:,.0f} times as many: codes share pictures out evenly, so that the "
            "frequent kinds get most prototypes",
            "more model.prototypes, or fewer pictures of the frequent kinds", values,
        )  # fmt: skip
    return Check("classes", "ok", told, values=values)


def check_copies(pictures: Pictures, look: Look) -> Check:
    """Pictures whose pixels are those of another, whatever their names and files."""
    groups = look.copies
    extra = sum(len(group) - 1 for group in groups)
    named = [[pictures.name(index) for index in group] for group in groups[:LISTED]]
    values = {"copies": extra, "groups": len(groups), "first": named}
    if not groups:
        return Check("copies", "ok", f"none{sampled(look)}", values=values)
    told = f"{counted(extra, 'exact copy', 'exact copies')} of others{sampled(look)}: " + "; ".join(
        " = ".join(map(pictures.below, group[:SHOWN])) + (" …" if len(group) > SHOWN else "")
        for group in groups[:SHOWN]
    )
    told += " …" if len(groups) > SHOWN else ""
    different = (len(look.seen) - extra) / len(look.seen)
    if different < COPIES:
        return Check(
            "copies", "problem", f"only {different:.0%} of the pictures differ; {told}",
            "train on different pictures: nothing tells copies apart", values,
        )  # fmt: skip
    return Check(
        "copies",
        "warning",
        told,
        REMOVE_COPIES,
        values,
    )

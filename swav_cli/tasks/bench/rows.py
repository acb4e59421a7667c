"""What was measured as rows of a table, in the order in which a person asks, with the conclusion."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from swav_cli.core.environment import environment, in_words
from swav_cli.core.precision import pick_precision
from swav_cli.data.reading.limits import own_processors
from swav_cli.errors import counted
from swav_cli.planning.step_parts import PARTS
from swav_cli.report.bench import Bench, Conclusion, Row, number
from swav_cli.report.words import duration
from swav_cli.tasks.bench.conclusion import Numbers, conclude
from swav_cli.tasks.bench.found import Found
from swav_cli.tasks.bench.subject import batch_of, crops_told
from swav_cli.tasks.bench.training import Eager, EndToEnd

GIB = 2**30


def told_of(found: Found) -> Bench:
    """All of it as it is shown."""
    recipe, given = found.recipe, found.given
    training, training_of_run = recipe.training, given.recipe.training
    versions = environment(given.device)
    batch = counted(batch_of(recipe), "picture") + (
        f" in {training.accumulate} parts" if training.accumulate > 1 else ""
    )
    network = f"{recipe.model.backbone}, {crops_told(recipe)}, {batch} a step in {training.precision}"
    if batch_of(given.recipe) > batch_of(recipe):
        network += f" (the recipe has {batch_of(given.recipe):,}, for which there is no time or room)"
    cores = "" if given.device.type == "cpu" else f", {counted(own_processors(), 'core')}"
    if training_of_run.compile:
        network += "; a run compiles it"
    about = {
        "recipe": f"{recipe.name}: {network}",
        "device": in_words(given.device) + cores + f", torch {torch.__version__}",
        "pictures": given.told,
    }
    settings = {
        "recipe": recipe.name, "batch_size": batch_of(recipe), "accumulate": training.accumulate,
        "recipe_batch_size": batch_of(given.recipe), "precision": training.precision, "crops": crops_told(recipe),
        "environment": versions, "cores": own_processors(), "workers": given.lying.workers, "pictures": given.told,
        "pictures_in_memory": given.lying.in_memory,
    }  # fmt: skip
    parts = {"reading": _reading, "step": _training, "inference": _inference, "limits": _limits}
    rows = [row for name, part in parts.items() if name in found.wanted for row in part(found)]
    return Bench(about, settings, rows, _conclusion(found))


def _missing(found: Found, key: str, name: str) -> Row:
    reason = found.failed[key]
    return Row(key, name, told=f"not measured: {reason}", values={"not_measured": reason})


def _reading(found: Found) -> Iterator[Row]:
    lying, name = found.given.lying, "reading, one core"
    if found.reading is None:
        yield _missing(found, "reading_core", name)
    else:
        how = "cut from decoded pictures in memory" if lying.in_memory else "decoded and cut"
        yield Row("reading_core", name, found.reading.rate, told=f"{crops_told(found.given.recipe)}, {how}")
    if not lying.workers:
        told = "none: the process that trains reads from memory"
        yield Row("reading", "reading, processes", told=told, values={"processes": 0})
        return
    name = f"reading, {counted(lying.workers, 'process', 'processes')}"
    if found.loader is None:
        yield _missing(found, "reading", name)
    else:
        yield Row("reading", name, found.loader, values={"processes": lying.workers})


def _training(found: Found) -> Iterator[Row]:
    if found.eager is None:
        yield _missing(found, "step", "step, eager")
        return
    yield _step(found.eager)
    yield from _parts(found.eager)
    searches = "cuDNN looks for its kernels, once" if found.given.device.type == "cuda" else ""
    yield Row("first_step", "first step", seconds=found.eager.steps.first_seconds, told=searches)
    if "compile" in found.wanted:
        yield _compiled(found, found.eager)
    if "run" in found.wanted:
        yield _end_to_end(found, "end_to_end", "end to end", found.end_to_end)
    if found.compiled is not None and found.compiled.end_to_end is not None:
        yield _end_to_end(found, "end_to_end_compiled", "end to end, compiled", found.compiled.end_to_end)
    yield _memory(found, found.eager)


def _parts(eager: Eager) -> Iterator[Row]:
    one = " of one part" if eager.steps.recipe.training.accumulate > 1 else ""
    for part, seconds in eager.parts.items():
        indent, share = "    " if part == "codes" else "  ", eager.shares[part]
        told = f"{share:.1%} of a step{one}"
        yield Row(part, indent + PARTS[part], seconds=seconds, told=told, values={"share": share})


def _step(eager: Eager) -> Row:
    steps, counts = eager.steps, eager.counts
    values = {"first_seconds": steps.first_seconds, **counts._asdict()}
    asked = f"{counts.operators:,} operators"
    if counts.kernels:
        values["busy_share"] = counts.busy_seconds / steps.seconds
        asked = (
            f"{counts.kernels:,} kernels, {counted(counts.copies, 'copy', 'copies')}, {counted(counts.waits, 'wait')}"
        )
        asked += f"; the GPU is busy {values['busy_share']:.0%} of it"
    return Row("step", "step, eager", steps.rate, steps.seconds, asked, values)


def _compiled(found: Found, eager: Eager) -> Row:
    if found.compiled is None:
        return _missing(found, "compiled", "step, compiled")
    steps = found.compiled.steps
    times = steps.rate / eager.steps.rate
    told = f"{times:.2f} times eager; {duration(steps.first_seconds)} of compiling"
    values = {"first_seconds": steps.first_seconds, "times_eager": times, "peak_bytes": steps.peak_bytes}
    return Row("compiled", "step, compiled", steps.rate, steps.seconds, told, values)


def _memory(found: Found, eager: Eager) -> Row:
    peak, device = eager.steps.peak_bytes, found.given.device
    told = f"{peak / GIB:.1f} GiB"
    if device.type == "cuda":
        told += f" of {torch.cuda.mem_get_info(device)[1] / GIB:.1f}, by eager steps"
    else:
        told += " at most, by this process up to the steps"
    return Row("memory", "memory", told=told, values={"peak_bytes": peak})


def _end_to_end(found: Found, key: str, name: str, timed: EndToEnd | None) -> Row:
    if timed is None:
        return _missing(found, key, name)
    told = f"waiting for pictures {timed.waiting:.0%}, over {counted(timed.steps, 'step')}"
    values = {"waiting": timed.waiting, "steps": timed.steps}
    return Row(key, name, batch_of(found.recipe) / timed.seconds, timed.seconds, told, values)


def _inference(found: Found) -> Iterator[Row]:
    if found.network is None or found.how is None:
        yield _missing(found, "network_alone", "network alone")
    else:
        size = max(crop.size for crop in found.given.recipe.crops)
        told = f"features of {size} pixels in {found.how.precision}"
        yield Row("network_alone", "network alone", found.network, told=told, values={"precision": found.how.precision})
    if found.extraction is None:
        yield _missing(found, "extract", "extract from files")
        return
    rate, workers, decoder = found.extraction
    slower = min(decoder, found.network) if found.network else decoder
    which = "network" if slower == found.network else "decoder"
    told = f"{rate / slower:.2f} of the slower one, the {which}; the cores decode {number(decoder)}"
    values = {"processes": workers, "decoder_pictures_per_second": decoder, "of_the_slower": rate / slower}
    yield Row("extract", "extract from files", rate, told=told, values=values)


def _limits(found: Found) -> Iterator[Row]:
    precision = found.given.recipe.training.precision
    if found.product is None:
        yield _missing(found, "product", "arithmetic")
    else:
        share = found.share_of_product
        told = f"{_percent(share)}a matrix product's {found.product / 1e12:,.2f} TFLOP/s in {precision}"
        values = {"flops_per_second": found.product, "share": share}
        yield Row("product", "arithmetic", told=told, values=values)
    if found.copy is None:
        yield _missing(found, "copy", "memory traffic")
    else:
        share = found.share_of_copy
        told = f"{_percent(share)}a copy's {found.copy / 1e9:,.0f} GB/s"
        yield Row("copy", "memory traffic", told=told, values={"bytes_per_second": found.copy, "share": share})


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%} of "


def _conclusion(found: Found) -> Conclusion:
    given, eager = found.given, found.eager
    compiled = found.compiled.steps.rate if found.compiled else None
    step = eager.steps.rate if eager else None
    if given.recipe.training.compile and compiled is not None:
        step, compiled = compiled, None
    busy = eager.counts.busy_seconds / eager.steps.seconds if eager and eager.counts.busy_seconds else None
    return conclude(
        Numbers(
            device=given.device.type,
            cores=max(1, own_processors()),
            workers=given.lying.workers,
            in_memory=given.lying.in_memory,
            a_core=found.reading.rate if found.reading else None,
            loader=found.loader,
            step=step,
            compiled=compiled,
            end_to_end=batch_of(found.recipe) / found.end_to_end.seconds if found.end_to_end else None,
            waiting=found.end_to_end.waiting if found.end_to_end else None,
            shares=eager.shares if eager else {},
            busy=busy,
            product=found.share_of_product,
            copy=found.share_of_copy,
            precision=given.recipe.training.precision,
            best_precision=pick_precision(given.device)[0],
        )
    )

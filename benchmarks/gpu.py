"""What is to be reached on one GPU, measured: rows with their goals in one table. `gpu.sh` runs it on a bare machine.

    python benchmarks/gpu.py [--data FOLDER] [--out FOLDER] [--only NAME,...] [--dry]

Each measurement is a process of its own with a time of its own, and the others go on where one fails. With --out, what
each of them printed is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
TINY = [
    "--set", "model.width=8", "--set", "crops.0.size=32", "--batch-size", "4", "--set", "model.prototypes=16",
    "--set", "loss.queue.length=8", "--workers", "1",
]  # fmt: skip
KEPT = ["--set", "data.cache=device"]
CHECKPOINT = ["--set", "training.checkpoint_activations=true"]
SMALL_CROPS = ["--set", "crops.1.size=16"]
LINE = 140  # letters


class Measurement(NamedTuple):
    """A command, how long it may take, and how it is where all is tiny."""

    command: list[str]
    seconds: int
    dry: list[str]


def swav(*words: str) -> list[str]:
    return [sys.executable, "-m", "swav_cli", "bench", *words, "--json"]


def script(name: str, *words: str) -> list[str]:
    return [sys.executable, str(HERE / name), *words]


def measurements(data: str | None) -> dict[str, Measurement]:
    """By name, the most important first; together they take less than eight minutes."""
    pictures = ["--data", data] if data else []
    dry = ["--device", "cpu", "--minutes", "0.2"]
    return {
        "in1k": Measurement(
            swav("in1k-200e", *pictures, "--device", "cuda", "--minutes", "4.0"), 265,
            swav("in1k-200e", *pictures, *TINY, *SMALL_CROPS, *dry),
        ),
        "checkpoint": Measurement(
            swav("in1k-200e", "--device", "cuda", "--minutes", "0.2", "--only", "step", *CHECKPOINT), 40,
            swav("in1k-200e", *TINY, *SMALL_CROPS, *dry, "--only", "step", *CHECKPOINT),
        ),
        "cifar512": Measurement(
            swav("cifar10", *KEPT, "--batch-size", "512", "--device", "cuda", "--minutes", "0.3", "--only", "step,run"),
            30,
            swav("cifar10", *TINY, *dry, "--only", "step,run", "--set", "loss.queue.length=0", *KEPT),
        ),
        "cifar128": Measurement(
            swav("cifar10", *KEPT, "--batch-size", "128", "--device", "cuda", "--minutes", "0.3", "--only", "step,run"),
            30,
            swav("cifar10", *TINY, *dry, "--only", "step,run", "--set", "loss.queue.length=0", *KEPT),
        ),
        "trajectory": Measurement(
            script("trajectory.py"), 25,
            script("trajectory.py", "--device", "cpu", "--steps", "2"),
        ),
        "knn": Measurement(
            script("knn.py", "--bank", "1281167", "--queries", "5000", "--device", "cuda"), 40,
            script("knn.py", "--bank", "512", "--queries", "64", "--dim", "32"),
        ),
        "loader": Measurement(
            script("loader.py", *([data] if data else []), "--pictures", "64", "--rounds", "2"), 20,
            script("loader.py", *([data] if data else []), "--pictures", "2", "--rounds", "1"),
        ),
        "cpu": Measurement(
            script("precision.py", "--batch", "4", "--rounds", "1"), 25,
            script("precision.py", "--backbone", "resnet18", "--size", "32", "--batch", "2", "--rounds", "1"),
        ),
    }  # fmt: skip


# --- rows ------------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """A line of the table: what was found, as words, and whether the goal is met; None: it names none."""

    what: str
    goal: str
    of: str  # which measurement
    read: Callable[[Any], tuple[str, bool | None]]


def rate(key: str, least: float) -> Callable[[Any], tuple[str, bool | None]]:
    def read(found: Any) -> tuple[str, bool | None]:
        row = measured(found, key)
        return f"{row['pictures_per_second']:,.0f}/s", row["pictures_per_second"] >= least

    return read


def measured(found: Any, key: str) -> Any:
    """A row of `swav bench --json`.

    Raises:
        ValueError: it was not measured, with the reason.
    """
    row = found["rows"].get(key, {"not_measured": "there was no time for it"})
    if "not_measured" in row:
        raise ValueError(row["not_measured"])
    return row


def of_step(key: str, most: float) -> Callable[[Any], tuple[str, bool | None]]:
    def read(found: Any) -> tuple[str, bool | None]:
        row = measured(found, key)
        return f"{1000 * row['seconds']:.1f} ms, {row['share']:.1%} of a step", row["share"] <= most

    return read


def read_end_to_end(found: Any) -> tuple[str, bool | None]:
    least = 1600 if "H100" in found["environment"]["device"] else 2000
    key = "end_to_end_compiled" if "end_to_end_compiled" in found["rows"] else "end_to_end"
    row = measured(found, key)
    how = "compiled" if "compiled" in key else "eager"
    told = f"{row['pictures_per_second']:,.0f}/s {how}, waiting {row['waiting']:.0%}"
    return told, row["pictures_per_second"] >= least


def read_compiled(found: Any) -> tuple[str, bool | None]:
    row = measured(found, "compiled")
    return (
        f"{row['pictures_per_second']:,.0f}/s, {row['times_eager']:.2f} times; {row['first_seconds']:.0f} s first",
        None,
    )


def read_update(found: Any) -> tuple[str, bool | None]:
    row = measured(found, "update")
    return f"{1000 * row['seconds']:.2f} ms", row["seconds"] <= 0.001


def read_waits(found: Any) -> tuple[str, bool | None]:
    row = measured(found, "step")
    return f"{row['waits']} of {row['kernels']:,} kernels, {row['copies']} copies", row["waits"] <= 1


def memory(most: float) -> Callable[[Any], tuple[str, bool | None]]:
    def read(found: Any) -> tuple[str, bool | None]:
        row, step = measured(found, "memory"), measured(found, "step")
        told = f"{row['peak_bytes'] / 2**30:.1f} GiB at {step['pictures_per_second']:,.0f}/s"
        return told, row["peak_bytes"] <= most * 2**30

    return read


def read_first(found: Any) -> tuple[str, bool | None]:
    row = measured(found, "first_step")
    return f"{row['seconds']:.1f} s, and a line says why", row["seconds"] <= 10


def read_extract(found: Any) -> tuple[str, bool | None]:
    row = measured(found, "extract")
    return f"{row['pictures_per_second']:,.0f}/s, {row['of_the_slower']:.2f}", row["of_the_slower"] >= 0.9


def read_limits(found: Any) -> tuple[str, bool | None]:
    product, copy = measured(found, "product"), measured(found, "copy")
    told = f"{product['share']:.0%} of {product['flops_per_second'] / 1e12:,.0f} TFLOP/s"
    return f"{told}, {copy['share']:.0%} of {copy['bytes_per_second'] / 1e9:,.0f} GB/s", None


def read_trajectory(text: str) -> tuple[str, bool | None]:
    apart = [float(number) for number in re.findall(r"apart +(\S+)", text)]
    return f"losses {apart[0]:.0e}, weights {apart[1]:.0e} apart", max(apart) <= 1e-8


def read_knn(text: str) -> tuple[str, bool | None]:
    minutes = float(re.findall(r"time +([\d.,]+) min", text)[0].replace(",", ""))
    return f"{minutes:.1f} min, from a tenth of the queries", minutes <= 2


def read_loader(text: str) -> tuple[str, bool | None]:
    times = {name: float(words.split()[-1]) for name, words in re.findall(r"^(ours[^\d]*?)  +([\d., ]+)$", text, re.M)}
    first, both = times["ours, colours left out"], times["ours with colours, on the CPU"]
    return f"{first} and {both} times torchvision's", first >= 8 and both >= 3


def read_cpu(text: str) -> tuple[str, bool | None]:
    times = float(re.findall(r"^float32 +channels-last.* ([\d.]+) x", text, re.M)[0])
    return f"{times} times plain float32", times >= 1.5


ROWS = [
    Row("in1k-200e from JPEG files", ">= 2,000/s; H100 1,600", "in1k", read_end_to_end),
    Row("its step, eager", ">= 1,500/s", "in1k", rate("step", 1500)),
    Row("its step, compiled", "", "in1k", read_compiled),
    Row("crops to views", "<= 3 % of a step", "in1k", of_step("views", 0.03)),
    Row("LARS", "<= 1 ms", "in1k", read_update),
    Row("waits for the GPU in a step", "1", "in1k", read_waits),
    Row("memory at batch 256", "<= 30 GiB", "in1k", memory(30)),
    Row("  activations computed anew", "<= 20 GiB", "checkpoint", memory(20)),
    Row("first step of a run", "<= 10 s", "in1k", read_first),
    Row("a step's share of the limits", "", "in1k", read_limits),
    Row("readers, all", ">= 3,500/s", "in1k", rate("reading", 3500)),
    Row("reader, one core", "", "in1k", lambda found: (rate("reading_core", 0)(found)[0], None)),
    Row("one core against torchvision", ">= 8, colours >= 3", "loader", read_loader),
    Row("network alone", ">= 10,000/s", "in1k", rate("network_alone", 10_000)),
    Row("extract from JPEG files", ">= 0.9 of the slower", "in1k", read_extract),
    Row("CIFAR ResNet-18, 512, a run", ">= 30,000/s", "cifar512", rate("end_to_end", 30_000)),
    Row("  its step", "", "cifar512", lambda found: (rate("step", 0)(found)[0], None)),
    Row("CIFAR ResNet-18, 128, a run", ">= 20,000/s", "cifar128", rate("end_to_end", 20_000)),
    Row("  its step", "", "cifar128", lambda found: (rate("step", 0)(found)[0], None)),
    Row("k-NN, ImageNet-sized", "<= 2 min", "knn", read_knn),
    Row("float64, CUDA against CPU", "<= 1e-8", "trajectory", read_trajectory),
    Row("processor, channels-last", ">= 1.5 times plain", "cpu", read_cpu),
]


# --- running ---------------------------------------------------------------------------------------------------------


def run(name: str, command: list[str], seconds: int, out: Path | None) -> tuple[Any, str]:
    """What a measurement found: plain values or what it printed; else None, and why not."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )  # fmt: skip
    try:
        printed, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None, f"took more than its {seconds} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if out is not None:
        (out / f"{name}.txt").write_text(printed + said, encoding="utf-8")
    if process.returncode:
        lines = said.strip().splitlines() or [f"exit code {process.returncode}"]
        return None, lines[-1]
    return (json.loads(printed) if "--json" in command else printed), ""


def line(row: Row, found: dict[str, tuple[Any, str]], is_dry: bool) -> str:
    value, why = found[row.of]
    is_met: bool | None = None
    if value is not None:
        try:
            why, is_met = row.read(value)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            why = f"not measured: {error}"
    else:
        why = f"not measured: {why}"
    met = {True: "yes", False: "no", None: ""}[is_met]
    return f"{row.what:30}{row.goal:24}{'' if is_dry else met:5}{why}"[:LINE]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a folder of JPEG files such as ImageNet's; else they are made up")
    parser.add_argument("--out", type=Path, help="a folder for what each measurement printed")
    parser.add_argument("--only", help="names of measurements, such as in1k,knn")
    parser.add_argument("--dry", action="store_true", help="tiny sizes, on a processor")
    options = parser.parse_args()
    all_of_them = measurements(options.data)
    names = options.only.split(",") if options.only else [*all_of_them]
    if unknown := [name for name in names if name not in all_of_them]:
        parser.error(f"--only {unknown[0]}: use {', '.join(all_of_them)}")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    began, found = time.monotonic(), {}
    for name in names:
        each = all_of_them[name]
        at = time.monotonic()
        # Without a GPU the times of a full machine mean nothing, but something must end what hangs.
        seconds = 20 * each.seconds if options.dry else each.seconds
        found[name] = run(name, each.dry if options.dry else each.command, seconds, options.out)
        print(f"{name}: {time.monotonic() - at:.0f} s {found[name][1]}", file=sys.stderr, flush=True)
    environments = [value["environment"] for value, _ in found.values() if isinstance(value, dict)]
    if environments:
        print(", ".join(f"{name} {words}" for name, words in environments[0].items()))
    print(
        f"{'what':30}{'goal':24}{'met':5}measured" + (" (tiny sizes: no figure means anything)" if options.dry else "")
    )
    for row in ROWS:
        if row.of in found:
            print(line(row, found, options.dry))
    print(f"{time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()

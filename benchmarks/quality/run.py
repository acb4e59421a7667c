"""How good features become: recipes by name, each on one protocol, a line a run in a table.

    python benchmarks/quality/run.py small epsilon --data DIR --seeds 1 2 3
    python benchmarks/quality/run.py small --set loss.epsilon=0.02 --data DIR

`sets.yaml` names what is tried. A run that the table holds already is not made again. Crop passes are the area of all
crops that went through the network, a picture, in crops of the largest size: compare at equal passes, and look at the
seconds as well.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from protocols import PROTOCOLS

from swav_cli.recipe.file import load_recipe
from swav_cli.recipe.schema import Recipe, settled
from swav_cli.run.metrics import read_metrics

HERE = Path(__file__).parent
TABLE = HERE / "table.csv"
COLUMNS = (
    "protocol", "name", "changes", "seed", "epochs", "crop_passes", "seconds", "loss_over_ln_k", "rank", "feature_rank",
    "knn", "linear", "verdict", "machine",
)  # fmt: skip


LOCK = threading.Lock()  # of the table


class Failed(Exception):
    """A command that did not end well."""


def main() -> None:
    options = read_options()
    named: dict[str, list[str]] = {} if options.sets else {"as typed": options.set}
    known = yaml.safe_load((HERE / "sets.yaml").read_text())
    for each in options.sets:
        named |= {f"{each}/{name}": [*changes, *options.set] for name, changes in known[each].items()}
    options.scratch.mkdir(parents=True, exist_ok=True)
    pictures = PROTOCOLS[options.protocol].pictures(options.data, options.scratch)
    with ThreadPoolExecutor(options.at_once) as pool:
        for seed in options.seeds:
            for name, changes in named.items():
                key = {"protocol": options.protocol, "name": name, "changes": " ".join(changes), "seed": str(seed)}
                if any(key.items() <= row.items() for row in kept_rows(options.table)):
                    print(f"{name}, seed {seed}: is in {options.table}")
                else:
                    pool.submit(one_row, key, changes, pictures, options)


def one_row(key: dict[str, str], changes: list[str], pictures: tuple[str, str | None], options: Any) -> None:
    try:
        row = {**key, **one_run(changes, int(key["seed"]), pictures, options)}
    except Failed as error:
        print(f"{key['name']}, seed {key['seed']}: {error}", file=sys.stderr)
        return
    with LOCK:
        add_row(options.table, row)
        told = [f"{column} {row[column]}" for column in COLUMNS if row.get(column) not in (None, "")]
        print(", ".join(told), flush=True)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", choices=PROTOCOLS)
    parser.add_argument("sets", nargs="*", help="of sets.yaml; none: the recipe as it is, with what --set changes")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SWAV_SHARED_DATA", ".")))
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[1, 2, 3], help="the first ones of a search: other ones"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--recipe", help="in place of the protocol's")
    parser.add_argument(
        "--scratch", type=Path, default=Path(tempfile.gettempdir()) / "swav-quality", help="for runs and pictures"
    )
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="runs beside each other, the cores divided")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--no-linear", action="store_true", help="k-NN alone")
    return parser.parse_args()


def one_run(changes: list[str], seed: int, pictures: tuple[str, str | None], options: Any) -> dict[str, Any]:
    """What came of one training, judged by its last epoch."""
    protocol, (train, val) = PROTOCOLS[options.protocol], pictures
    run = Path(tempfile.mkdtemp(prefix="run-", dir=options.scratch)) / "run"
    swav = partial(run_swav, at_once=options.at_once)
    overrides = [*protocol.overrides, f"data.val={val or 'null'}", "evaluation.knn_every=0", *changes]
    words = [word for change in overrides for word in ("--set", change)]
    began = time.perf_counter()
    swav("pretrain", options.recipe or protocol.recipe, "--data", train, "--seed", str(seed), "--out", str(run), *words)
    found = {"seconds": round(time.perf_counter() - began)}
    results = json.loads((run / "results.json").read_text())
    recipe = load_recipe(run / "recipe.yaml")
    assert isinstance(recipe, Recipe)
    last = [line for line in read_metrics(run / "metrics.jsonl") if line["kind"] == "epoch"][-1]
    linear = None
    if protocol.labelled and not options.no_linear:
        out = swav("linear-eval", str(run), "--recipe", "linear-small", "--cached", "--out", f"{run}-linear", "--json")
        linear = json.loads(out)["top1"]
    return {
        **found, "epochs": recipe.training.epochs, "crop_passes": round(crop_passes(recipe)),
        "loss_over_ln_k": round(last["loss_over_ln_k"], 3), "rank": round(last["rank"], 1),
        "feature_rank": round(last["feature_rank"], 1), "knn": results.get("knn"), "linear": linear,
        "verdict": results.get("verdict"), "machine": machine(options.at_once),
    }  # fmt: skip


def crop_passes(recipe: Recipe) -> float:
    """Area of the crops of a picture over all epochs, in crops of the largest size."""
    largest = max(crop.size for crop in recipe.crops)
    return settled(recipe.training.epochs) * sum(crop.count * (crop.size / largest) ** 2 for crop in recipe.crops)


def run_swav(*words: str, at_once: int) -> str:
    """What it printed as its result."""
    environment = dict(os.environ)
    if at_once > 1:
        environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // at_once))
        words = (*words, "--workers", "0")
    done = subprocess.run(
        [sys.executable, "-m", "swav_cli", *words], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise Failed(f"swav {' '.join(words)} ended with {done.returncode}: {' '.join(last)}")
    return done.stdout


def machine(at_once: int) -> str:
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} cores"
    return name if at_once == 1 else f"{name}, {at_once} runs at once"


def kept_rows(table: Path) -> list[dict[str, str]]:
    if not table.exists():
        return []
    with table.open(newline="") as lines:
        return list(csv.DictReader(lines))


def add_row(table: Path, row: dict[str, Any]) -> None:
    begins = not table.exists()
    with table.open("a", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        if begins:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()

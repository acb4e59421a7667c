"""The normal course of a recipe, from runs of it with several seeds that went well.

    for seed in 0 1 2; do swav pretrain quickstart --seed $seed --out runs/quickstart-$seed; done
    python benchmarks/courses.py runs/quickstart-0 runs/quickstart-1 runs/quickstart-2 > recipes/courses/quickstart.json

Each number is the least, the middle and the largest of all runs at the end of an epoch, with a margin of their spread
to both sides, since three seeds show only some of what is normal.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from swav_cli.run.metrics import read_metrics

KEYS = ("loss_over_ln_k", "used_prototypes", "rank")
MARGIN = 0.5  # of the range


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    options = parser.parse_args()
    logs = [read_metrics(run / "metrics.jsonl") for run in options.runs]
    epochs = [[line for line in log if line["kind"] == "epoch"] for log in logs]
    steps = max(line["step"] for line in epochs[0])
    courses: dict[str, list[list[float]]] = {}
    for key in KEYS:
        courses[key] = []
        for lines in zip(*epochs, strict=True):
            values = [line[key] for line in lines]
            low, middle, high = min(values), statistics.median(values), max(values)
            wide = MARGIN * (high - low)
            share = lines[0]["step"] / steps
            courses[key].append([round(each, 4) for each in (share, max(0, low - wide), middle, high + wide)])
    about = {"runs": len(logs), "epochs": len(epochs[0]), "verdicts": [lines[-1]["verdict"] for lines in epochs]}
    rows = ",\n".join(f'  "{key}": {json.dumps(course)}' for key, course in courses.items())
    print(f'{{"about": {json.dumps(about)},\n "courses": {{\n{rows}}}}}')


if __name__ == "__main__":
    main()

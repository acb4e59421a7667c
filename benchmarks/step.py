"""A training step kernel by kernel, as torch's profiler sees it, behind what `swav bench` tells of it.

    python benchmarks/step.py [in1k-200e] [--device auto] [--minutes 1] [--set training.batch_size=256] [--set ...]

The trainer is the one that `swav pretrain` runs; its batch is noise, in pinned memory as the loader leaves it. Without
a GPU the operators that were called are listed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from swav_cli.core.device import own_device
from swav_cli.core.train import quickest_convolutions
from swav_cli.errors import silent
from swav_cli.planning.step_parts import profiled_step
from swav_cli.recipe.file import load_recipe
from swav_cli.report.bench import bench_text
from swav_cli.tasks.bench.measure import bench
from swav_cli.tasks.bench.subject import subject
from swav_cli.tasks.bench.training import prepared, time_eager

LINES = 25  # of the profile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="in1k-200e")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, options.overrides)
    print(bench_text(bench(recipe, device=options.device, minutes=options.minutes, only=["step", "limits"])))
    device = own_device(options.device)
    with TemporaryDirectory() as folder, quickest_convolutions():
        given = subject(recipe, device, False, Path(folder), silent)
        eager = time_eager(given, 10.0)[0]  # with as many pictures as find room
        trainer, batch = prepared(eager.steps.recipe, given.pictures, device)
        for _ in range(3):
            trainer.train_step(batch)
        by = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
        print(profiled_step(trainer, batch).table(sort_by=by, row_limit=LINES, max_name_column_width=60))


if __name__ == "__main__":
    main()

"""How long commands take to start: whole processes beside `python -c "import torch"`, in turns.

python benchmarks/start.py [--rounds 10] [--device cpu] [--model RUN] [--data FOLDER]

Each command is run as a user runs it. What it does once all is imported is measured apart, as its second run within one
process, and taken off; what is left is its start, told as a multiple of `import torch`. Without --model and --data a
small run and ten pictures are made first.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TWICE = """
import sys, time
from swav_cli.app import main
for _ in range(2):
    started = time.perf_counter()
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, ended.code
print(time.perf_counter() - started, file=sys.stderr)
"""


def seconds(command: list[str], folder: Path) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def work_alone(words: list[str], folder: Path) -> float:
    """Seconds of a command's second run in one process."""
    ran = subprocess.run([sys.executable, "-c", TWICE, *words], cwd=folder, check=True, capture_output=True, text=True)
    return float(ran.stderr.split()[-1])


def prepare(folder: Path) -> None:
    """A small run, and ten pictures."""
    from PIL import Image

    from swav_cli.data.sources import open_pictures

    (folder / "pictures").mkdir()
    pictures = open_pictures("shapes:10")
    for index in range(10):
        Image.fromarray(pictures.read(index).permute(1, 2, 0).numpy()).save(folder / "pictures" / f"{index}.png")
    few = ["--epochs", "1", "--set", "data.train=shapes:256", "--set", "data.val=shapes:64"]
    words = ["pretrain", "quickstart", *few, "--out", "run"]
    subprocess.run([sys.executable, "-m", "swav_cli", *words], cwd=folder, check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        prepare(folder)
        model, data = (options.model or folder / "run").resolve(), (options.data or folder / "pictures").resolve()
        device, again = ["--device", options.device], ["--overwrite"]
        picture = next(path for path in sorted(data.rglob("*")) if path.is_file())
        commands = {
            "predict of one picture": ["predict", str(picture), "--model", str(model), *device],
            "extract of a folder": [
                "extract",
                str(data),
                "--model",
                str(model),
                "--out",
                "f.npy",
                "--overwrite",
                *device,
            ],
            "eval of a run": ["eval", str(model), *device],
            "export, safetensors": ["export", str(model), "--format", "safetensors", "--out", "m.safetensors", *again],
        }
        alone = {name: work_alone(words, folder) for name, words in commands.items()}
        torch, taken = [], {name: [] for name in commands}
        for _ in range(options.rounds):
            torch.append(seconds([sys.executable, "-c", "import torch"], folder))
            for name, words in commands.items():
                taken[name].append(seconds([sys.executable, "-m", "swav_cli", *words], folder))
    print(f"import torch: {statistics.median(torch):.2f} s ({min(torch):.2f} to {max(torch):.2f})")
    print(f"{'':24}{'seconds':>9}{'work':>7}   start / import torch, median (least, most)")
    for name, times in taken.items():
        ratios = [(time - alone[name]) / base for time, base in zip(times, torch, strict=True)]
        print(
            f"{name:24}{statistics.median(times):9.2f}{alone[name]:7.2f}   "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()

#!/usr/bin/env bash
# What is to be reached on one GPU, measured there: a row each with its goal, in under eight minutes, in one table.
#
#   benchmarks/gpu.sh [--data FOLDER] [--out FOLDER] [--only NAME,...]
#   benchmarks/gpu.sh --dry                  the same at tiny sizes on a processor, to see that all of it runs
#
# It takes a bare machine: Python with torch and torchvision, a checkout of this, no network. What else is missing is
# installed into that Python from wheels that lie in $WHEELS, else in wheels/ in the checkout; nothing is fetched. Without
# --data the pictures are made up. PYTHON names another interpreter.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
wheels=${WHEELS:-$root/wheels}

missing() {
  "$python" - "$root/pyproject.toml" <<'CODE'
import re, sys
from importlib.metadata import PackageNotFoundError, version
text = open(sys.argv[1], encoding="utf-8").read()
wanted = re.search(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)[1]
for name in re.findall(r'"([\w-]+)', wanted):
    try:
        version(name)
    except PackageNotFoundError:
        print(name)
CODE
}

lacking=$(missing)
if [ -n "$lacking" ]; then
  echo "installing from $wheels:" $lacking >&2
  PIP_BREAK_SYSTEM_PACKAGES=1 "$python" -m pip install --quiet --no-index --find-links "$wheels" $lacking >&2 || {
    echo "gpu.sh: put wheels of" $lacking "and of what they need into $wheels, or name another folder with WHEELS" >&2
    exit 2
  }
fi
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
"$python" "$root/benchmarks/gpu.py" "$@"

"""How long both programs take to show their help, and to say that a line is mistyped: the median of several starts.

`python -m benchmarks start_up [--runs N]`, on a machine that does nothing else. The commands take turns, so that what
disturbs the machine disturbs them alike.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.support.results import Row, record

ROOT = Path(__file__).parents[2]
LINES = (
    "-m datagen --help",
    "-m datagen run --help",
    "-m datagen judge --help",
    "-m datagen list --help",
    "-m datagen runn",
    "-m datagen run pick-style --recpie x --out out",
    "-m datagen run pick-style --out out --limit 3 --limit 5",
    "-m datagen run pick-style --out out --limit many",
    "-m datagen run",
    "-m datagen run pick-stile --out out",
    "training/run.py --help",
    "training/run.py --dataa x",
    "training/run.py --data x --out y --method dpoo",
    "training/run.py --data x --out y --method dpo --lr -1",
    "training/evaluate.py --help",
    "training/sample.py --help",
    "training/export.py --help",
)
GOAL = "< 0.6"


def seconds(line: str) -> float:
    """How long one start takes. Raises RuntimeError if it does not end as help and user errors do."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *shlex.split(line)], cwd=ROOT, capture_output=True, text=True, check=False)
    took = time.perf_counter() - started
    if done.returncode != (0 if "--help" in line else 2):
        raise RuntimeError(f"python {line} ended with {done.returncode}: {done.stderr}")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--runs", type=int, default=9, help="starts of each command (9)")
    given = parser.parse_args()
    took: dict[str, list[float]] = {line: [] for line in LINES}
    for line in LINES:
        seconds(line)  # from here on what it reads is in memory
    for _ in range(given.runs):
        for line, times in took.items():
            times.append(seconds(line))
    rows = []
    for line, times in took.items():
        median = statistics.median(times)
        print(f"{median:5.2f} s  {min(times):5.2f} to {max(times):5.2f}  python {line}", flush=True)
        spread = f"{min(times):.2f} to {max(times):.2f} in {given.runs} starts"
        rows.append(Row(f"python {line}", median, "s", GOAL, spread))
    record("start_up", rows)


if __name__ == "__main__":
    main()

"""How long an audit of a large run takes, and how much memory.

`python -m benchmarks audit [PAIRS]`. A run of so many prompts with five judges' scores and flat pictures of 8 pixels
is written and labelled first; what real pictures cost more is their decoding, which grows with their size. The audit
is a process of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.support import judged_run
from benchmarks.support.results import Row, record

SHARD = 1000


def main() -> int:
    """Print the seconds and the memory; 1 if it is more than a run's own labels may take."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks audit", description=__doc__, allow_abbrev=False)
    parser.add_argument("pairs", nargs="?", type=int, default=100_000)
    pairs = parser.parse_args().pairs
    folder = Path("out") / "benchmarks" / f"audit-{pairs}"
    if not (folder / "dataset").is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        judged_run.write(folder, judged_run.recipe(pairs, SHARD))
        subprocess.run([sys.executable, "-m", "datagen", "relabel", str(folder)], check=True)
    command = [sys.executable, "-m", "datagen", "audit", str(folder)]
    started = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)  # of this child alone: writing the run took memory, too
    seconds = time.perf_counter() - started
    rows = [
        Row("an audit", seconds, "s", note=f"{pairs} pairs, 5 judges; CPU {used.ru_utime + used.ru_stime:.0f} s"),
        Row("memory at the peak", used.ru_maxrss / 1e6, "GB", "≤ 2", note=f"{pairs} pairs"),
    ]
    for row in rows:
        print(row)
    record("audit", rows)
    return status or int(any(row.reached is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())

"""How long it takes to label a judged run anew, and how much memory: no image is drawn or judged.

`python -m benchmarks relabel [PAIRS]`. A run of so many prompts with five judges' scores is written first; then its
labels are learnt and its dataset is written (`datagen relabel RUN`), then other rules are given (`--set
labels.min_probability=…`). Each call is a process of its own; the seconds of its stages are in their footers.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.support import judged_run
from benchmarks.support.results import Row, record
from datagen import store

SHARD = 1000


def main() -> int:
    """Print the seconds and the memory; 1 if the labels take longer than 10 s, or more than 2 GB."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks relabel", description=__doc__, allow_abbrev=False)
    parser.add_argument("pairs", nargs="?", type=int, default=100_000)
    pairs = parser.parse_args().pairs
    folder = Path("out") / "benchmarks" / f"relabel-{pairs}"
    shutil.rmtree(folder, ignore_errors=True)
    judged_run.write(folder, judged_run.recipe(pairs, SHARD))
    before = _images(folder)
    _relabel(folder)
    seconds = _relabel(folder, "labels.min_probability=0.95")
    run = store.Run(folder)
    labels = run.footer("labels", 0)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    assert labels is not None and _images(folder) == before, "images were touched"
    rows = [
        Row("labels of a run", labels.seconds, "s", "≤ 10", note=f"{pairs} pairs, 5 judges"),
        Row("with pairs and dataset written anew", seconds, "s", note="one process"),
        Row("memory at the peak", peak, "GB", "≤ 2"),
    ]
    for row in rows:
        print(row)
    record("relabel", rows)
    return 0 if labels.seconds <= 10 and peak <= 2 else 1


def _relabel(folder: Path, *settings: str) -> float:
    started = time.perf_counter()
    given = [part for setting in settings for part in ("--set", setting)]
    subprocess.run([sys.executable, "-m", "datagen", "relabel", str(folder), *given], check=True)
    return time.perf_counter() - started


def _images(folder: Path) -> list[tuple[str, int]]:
    return [(path.name, path.stat().st_mtime_ns) for path in sorted(folder.glob("tables/images/*.parquet"))]


if __name__ == "__main__":
    sys.exit(main())

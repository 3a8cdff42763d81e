"""How long it takes to label a judged run anew, and how much memory: no image is drawn or judged.

`python -m benchmarks relabel [PAIRS] [--keep]`. A run of so many prompts with five judges' scores is written and
labelled first; then it is given another rule (`datagen relabel RUN --set labels.min_probability=…`), which is what is
measured, in a process of its own. The labels and the tables of pairs are what the rule changes; that the dataset is
written anew from them is told beside it, as it grows with the pictures. The seconds of stages are in their footers.
Modules are compiled by the call before, as in any installation, whatever this environment says: it takes seconds.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.support import judged_run
from benchmarks.support.results import Row, record
from datagen import recipe as recipes
from datagen import store

SHARD = 1000


def main() -> int:
    """Print the seconds and the memory; 1 if labels and pairs take longer than 10 s, or more than 2 GB."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks relabel", description=__doc__, allow_abbrev=False)
    parser.add_argument("pairs", nargs="?", type=int, default=100_000)
    parser.add_argument("--keep", action="store_true", help="go on from a run that is there, if it is labelled")
    given = parser.parse_args()
    folder = Path("out") / "benchmarks" / f"relabel-{given.pairs}"
    if not given.keep or not (folder / "dataset").is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        judged_run.write(folder, judged_run.recipe(given.pairs, SHARD))
        _relabel(folder, 0.9)
    before = _images(folder)
    seconds, cpu, peak = _relabel(folder, 0.9 if _rule(folder) == 0.95 else 0.95)
    run = store.Run(folder)
    assert _images(folder) == before, "images were touched"
    labels, pairs = _seconds(run, "labels"), _seconds(run, "pairs")
    note = f"{given.pairs} pairs, 5 judges"
    rows = [
        Row("labels of a run", labels, "s", note=note),
        Row("labels and the tables of pairs", labels + pairs, "s", "≤ 10", note=f"{note}, 8 × 8 pixels"),
        Row("the whole call, dataset written anew", seconds, "s", note=f"CPU {cpu:.0f} s, one process"),
        Row("memory at the peak", peak, "GB", "≤ 2"),
    ]
    for row in rows:
        print(row)
    record("relabel", rows)
    return int(any(row.reached is False for row in rows))


def _seconds(run: store.Run, stage: str) -> float:
    """What the shards of a stage took, by their footers."""
    footers = itertools.takewhile(bool, (run.footer(stage, index) for index in itertools.count()))
    return sum(footer.seconds for footer in footers if footer is not None)


def _rule(folder: Path) -> float | None:
    """The threshold that a run was last labelled by."""
    found: float | None = store.Run(folder).started().get(recipes.RELABELLED, {}).get("min_probability")
    return found


def _relabel(folder: Path, threshold: float) -> tuple[float, float, float]:
    """Seconds, CPU seconds and GB of a process that labels a run by another threshold."""
    command = ["relabel", str(folder), "--set", f"labels.min_probability={threshold}"]
    started = time.perf_counter()
    compiled = {"PYTHONPYCACHEPREFIX": str(folder.absolute().with_name("compiled")), "PYTHONDONTWRITEBYTECODE": ""}
    process = subprocess.Popen([sys.executable, "-m", "datagen", *command], env={**os.environ, **compiled})
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(1)
    return time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6


def _images(folder: Path) -> list[tuple[str, int]]:
    return [(path.name, path.stat().st_mtime_ns) for path in sorted(folder.glob("tables/images/*.parquet"))]


if __name__ == "__main__":
    sys.exit(main())

"""How often a label that the jury published is true in the embedded world, and how often each judge alone agrees.

`python -m benchmarks label_truth [RUN …]`; builds the four recipes if no run is given. The truth of a pair is what the
attribute reader sees: chosen shows the attribute its wording asks for, rejected the other one. No judge of the jury
has a part in that truth; of a run that was judged by `world`, which is the reader, the figure says nothing.
"""

from __future__ import annotations

import argparse
import collections
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.support.results import Row, percent, record
from datagen.report.truth import is_true

RECIPES = ("pick-style", "pick-safety", "livo-toxicity", "livo-debias")


def pairs(run: Path) -> list[dict[str, Any]]:
    """All rows of a run's dataset, both splits."""
    return [
        row for file in sorted((run / "dataset" / "data").glob("*.parquet")) for row in pq.read_table(file).to_pylist()
    ]


def told(rows: list[dict[str, Any]]) -> list[bool]:
    """Whether each label is true, of the pairs of which the reader can tell."""
    sides = ("chosen", "rejected")
    found = [
        is_true(*(row[side]["bytes"] for side in sides), *(row[f"{side}_prompt"] for side in sides)) for row in rows
    ]
    return [true for true in found if true is not None]


def agreeing(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The share of the pairs whose chosen image each judge alone prefers, by the two wordings."""
    counts: collections.Counter[str] = collections.Counter()
    for row in rows:
        for name, scores in json.loads(str(row["scores"])).items():
            said = [scores[side].get(axis) for side in ("chosen", "rejected") for axis in ("aligned", "violating")]
            counts[name] += None not in said and said[0] - said[1] > said[2] - said[3]
    return {name: count / len(rows) for name, count in sorted(counts.items())}


def main() -> int:
    """Print a line a run; 1 if under 98 % of the labels of one are true."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks label_truth", description=__doc__, allow_abbrev=False)
    parser.add_argument("runs", nargs="*", type=Path, help="finished runs; without any they are made")
    runs = parser.parse_args().runs
    if not runs:
        runs = [Path("out") / "benchmarks" / "label_truth" / recipe for recipe in RECIPES]
        for run, recipe in zip(runs, RECIPES, strict=True):
            command = [sys.executable, "-m", "datagen", "run", recipe, "--profile", "embedded", "--out", str(run)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    worst, measured = 1.0, []
    print("| run | pairs | labels true | agree alone |\n|---|---|---|---|")
    for run in runs:
        rows = pairs(run)
        known = told(rows)
        true, of = sum(known) / len(known), f"{len(known)} of {len(rows)} pairs"
        alone = agreeing(rows)
        said = ", ".join(f"{name} {share:.1%}" for name, share in alone.items())
        print(f"| {run.name} | {of} | {true:.1%} | {said} |", flush=True)
        worst = min(worst, true)
        measured.append(
            Row(
                f"{run.name}: labels true",
                percent(true),
                "%",
                "≥ 98",
                note=f"{of}; {said}",
            )
        )
    record("label_truth", measured)
    return 0 if worst >= 0.98 else 1


if __name__ == "__main__":
    sys.exit(main())

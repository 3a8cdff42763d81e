"""How often a published label is true in the embedded world, and how often the clip judge alone would be.

`python -m benchmarks label_truth [RUN …]`; builds the four recipes if no run is given. The truth of a pair is what the
attribute reader sees: chosen shows the attribute its wording asks for, rejected the other one. As the reader is also
the judge `world`, the labels of a run that uses it are checked for the whole path, not for the reader's own errors;
the clip judge has no part in that truth, so its share is an independent figure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.support.results import Row, percent, record
from datagen.images.decode import decode
from datagen.world.captions import parse
from datagen.world.reader import read

RECIPES = ("pick-style", "pick-safety", "livo-toxicity", "livo-debias")


def pairs(run: Path) -> list[dict[str, Any]]:
    """All rows of a run's dataset, both splits."""
    return [
        row for file in sorted((run / "dataset" / "data").glob("*.parquet")) for row in pq.read_table(file).to_pylist()
    ]


def is_true(row: dict[str, Any]) -> bool:
    """Whether each image shows its own side of what the two wordings disagree about."""
    images = [decode(row[side]["bytes"]) for side in ("chosen", "rejected")]
    shown = [reading.attributes for reading in read(images)]
    wanted = [parse(str(row[f"{side}_prompt"])) for side in ("chosen", "rejected")]
    about = [name for name in wanted[0] if wanted[0][name] != wanted[1].get(name)]
    return all(seen[name] == stated[name] for seen, stated in zip(shown, wanted, strict=True) for name in about)


def clip_agrees(row: dict[str, Any]) -> bool:
    """Whether the clip judge alone prefers the chosen image."""
    scores = json.loads(str(row["scores"]))["clip"]
    lean = {side: scores[side]["aligned"] - scores[side]["violating"] for side in ("chosen", "rejected")}
    return bool(lean["chosen"] > lean["rejected"])


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
    print("| run | pairs | labels true | clip alone right |\n|---|---|---|---|")
    for run in runs:
        rows = pairs(run)
        true = sum(map(is_true, rows)) / len(rows)
        clip = sum(map(clip_agrees, rows)) / len(rows)
        print(f"| {run.name} | {len(rows)} | {true:.1%} | {clip:.1%} |", flush=True)
        worst = min(worst, true)
        measured += [
            Row(f"{run.name}: labels true", percent(true), "%", "≥ 98", note=f"{len(rows)} pairs"),
            Row(f"{run.name}: labels the clip judge alone agrees with", percent(clip), "%"),
        ]
    record("label_truth", measured)
    return 0 if worst >= 0.98 else 1


if __name__ == "__main__":
    sys.exit(main())

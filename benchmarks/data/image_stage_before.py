"""The stage of images against that of an older commit: CPU seconds for the same prompts of pick-style, by turns.

`python -m benchmarks image_stage_before CHECKOUT [PROMPTS] [--rounds N]`: CHECKOUT is a worktree of the older
commit (`git worktree add --detach FOLDER COMMIT`); without one nothing is measured. Each tree has a process of one
thread, which is warm before anything is timed; the pictures are compared first.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.support.interleaved import Rounds, interval
from benchmarks.support.results import Row, record

HERE = Path(__file__).parents[2]
CHILD = """
import hashlib, io, json, sys, time  # the first line says how many prompts, each other one is a run
import torch
from PIL import Image as Pillow
from datagen import recipe as recipes
from datagen.records import Principle, Prompt
from datagen.stages import Context, Shard, images, principles, prompts
torch.set_num_threads(1)
recipe = recipes.load("pick-style", [f"prompts.count={int(input())}"])
context = Context(recipe, recipe.profile("embedded"))
first = principles.STAGE.run(context, Shard()).rows
shard = Shard({Principle: first, Prompt: prompts.STAGE.run(context, Shard({Principle: first})).rows})
for _ in sys.stdin:
    started = time.process_time()
    rows = images.STAGE.run(context, shard).rows
    spent = time.process_time() - started
    pixels = [hashlib.sha256(Pillow.open(io.BytesIO(row.image)).convert("RGB").tobytes()).hexdigest() for row in rows]
    print(json.dumps([spent, pixels]), flush=True)
"""


def start(tree: Path, prompts: int) -> subprocess.Popen[str]:
    """A process that runs the stage of a tree once for each line that it is given."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    command, pipe = [sys.executable, "-c", CHILD], subprocess.PIPE
    process = subprocess.Popen(command, cwd=tree, env=environment, text=True, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    process.stdin.write(f"{prompts}\n")
    return process


def once(process: Any) -> tuple[float, list[str]]:
    """CPU seconds of one run of the stage, and digests of its pictures."""
    process.stdin.write("\n")
    process.stdin.flush()
    spent, pixels = json.loads(process.stdout.readline())
    return spent, pixels


def main() -> int:
    """Print and record the figures; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("checkout", nargs="?", type=Path)
    parser.add_argument("prompts", nargs="?", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if given.checkout is None:
        print("no checkout of an older commit is given: nothing is measured")
        return 0
    old, new = (start(tree, given.prompts) for tree in (given.checkout.resolve(), HERE))
    (_, before), (_, after) = once(old), once(new)  # warms them, too
    equal = sum(a == b for a, b in zip(before, after, strict=True))
    spent = []
    for _ in range(given.rounds):
        a, b, b2, a2 = (once(process)[0] for process in (old, new, new, old))
        spent.append((a + a2, b + b2))
        print(f"{spent[-1][0] / spent[-1][1]:.2f}x", flush=True)
    for process in (old, new):
        process.communicate()
    timed = Rounds(spent, spent)
    at = functools.partial(subprocess.run, capture_output=True, text=True, check=True)
    commit = at(["git", "-C", str(given.checkout), "rev-parse", "--short", "HEAD"]).stdout.strip()
    low, high = interval(timed.ratios())
    rows = [
        Row(f"images a core-second over {commit}", timed.ratio(), "×", "≥ 1.5", f"{low:.2f}-{high:.2f}",
            f"{len(after) / timed.seconds(1):.2f} images a core-second"),
        Row(f"pictures with the pixels of {commit}", 100 * equal / len(after), "%"),
    ]  # fmt: skip
    for row in rows:
        print(f"{row.what}: {row.figure:.4g}{row.unit} {row.goal} ({row.spread})")
    record("image_stage_before", rows)
    return 0 if all(row.reached is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

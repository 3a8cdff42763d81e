"""A full-size SD 1.5 or SDXL on a CPU from a recipe to a dataset, and on to the trainer's first step.

`python -m benchmarks full_size_run --work FOLDER`; the models are made there at random (9 GB of disk), in float16 as
most are published, and compute in float32. `datagen run` draws a few pairs and judges them by their brightness,
`training/run.py --method mapo` takes one step of LoRA on them. Memory is the kernel's high-water mark of the process
and its children, with the pages of mapped files. Needs 16 GiB.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.support import full_size, memory
from benchmarks.support.results import Row, record

KINDS = ("sd15", "sdxl")
GOALS = {"sd15": "≤ 6.6", "sdxl": "≤ 9"}
RECIPE = """
name = "full-size"
license = "cc0-1.0"
description = "A full-size model with weights at random."
pairing = "contrast"
[prompts]
count = {prompts}
test_share = 0
control_share = 0
[images]
shard_size = 2
[labels]
min_probability = 0.5
min_match = 0
[profiles.full]
model = "{model}"
taxonomy = "world-styles"
principles = ["pixel-art"]
grammar = "world-styles"
scheduler = "euler"
steps = {steps}
guidance = 5.0
width = {side}
height = {side}
judges = ["benchmarks.support.null_models"]
"""


def watched(command: Sequence[str], environment: dict[str, str], file: Path) -> tuple[float, float, float]:
    """GB at the peak of a process, seconds until some file is there, and until it ended; exits if it failed."""
    started, seen = time.monotonic(), 0.0
    process = subprocess.Popen(command, env={**os.environ, **environment})
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if not seen and file.is_file():
            seen = time.monotonic() - started
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            break
        time.sleep(0.2)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return usage.ru_maxrss * 1024 / 1e9, seen, time.monotonic() - started


def measure(kind: str, given: argparse.Namespace) -> list[Row]:
    """Both programs, one after the other."""
    folder = full_size.save(kind, given.work / kind)
    memory.resident()  # what making it took is given back to the system
    weights = sum(file.stat().st_size for file in folder.glob("*/*.safetensors")) / 1e9
    out = given.work / f"{kind}-run"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    environment = {"DATAGEN_TRAINING_CACHE": str(out / "cache"), "PYTHONPATH": str(Path(__file__).parents[2])}
    recipe, run, trained = out / "full.toml", out / "run", out / "trained"
    recipe.write_text(RECIPE.format(model=folder, prompts=given.prompts, steps=given.steps, side=given.side))
    python = [sys.executable, "-m"]
    command = [*python, "datagen", "run", str(recipe), "--profile", "full", "--out", str(run)]
    rows = _rows(
        f"{kind}, {given.side} px, to a dataset",
        watched(command, environment, run / "tables" / "images" / "images-00000.parquet"),
        "the first pictures are written",
        GOALS[kind],
        f"{weights:.2f} GB of weights in float16, computed with in float32",
    )
    command = [*python, "training.run", "--data", str(run / "dataset"), "--model", str(folder), "--out", str(trained)]
    command += ["--method", "mapo", "--lora-rank", "8", "--batch", "1", "--steps", "1", "--checkpointing"]
    command += ["--resolution", str(given.side), *given.more.split()]
    return rows + _rows(
        f"{kind}, {given.side} px, LoRA by MaPO{f', {given.more}' if given.more else ''}",
        watched(command, environment, trained / "metrics.jsonl"),
        "the first step is done",
        GOALS[kind],
        "a pair, checkpointing; with what the cache needs encoded",
    )


def _rows(what: str, found: tuple[float, float, float], until: str, goal: str, note: str) -> list[Row]:
    peak, first, all_of_it = found
    return [
        Row(f"{what}: memory at its peak", peak, "GB", goal, note=note),
        Row(f"{what}: until {until}", first, "s"),
        Row(f"{what}: until all is done", all_of_it, "s"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--work", type=Path, required=True, help="where the models are made, and stay")
    parser.add_argument("--kind", choices=KINDS, action="append", help="which model (both)")
    parser.add_argument("--side", type=int, default=256, help="of the pictures, in pixels (256)")
    parser.add_argument("--steps", type=int, default=2, help="of a picture (2)")
    parser.add_argument("--prompts", type=int, default=4, help="pairs (4)")
    parser.add_argument("--more", default="", help="more options of training/run.py, in one word")
    given = parser.parse_args()
    rows = []
    for kind in given.kind or KINDS:
        rows += measure(kind, given)
        record("full_size_run", rows)
    for row in rows:
        print(f"{row.what}: {row.figure:.4g} {row.unit} {row.goal}", flush=True)
    if missed := [row.what for row in rows if row.reached is False]:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()

"""What MaPO saves over our own Diffusion-DPO, full fine-tuning on the SDXL shape: time and memory of a step.

MaPO needs no reference: no second U-Net in memory, no two predictions more a pair. The paper claims 14.5 % of the time
and 17.5 % of the memory. Time by turns in one process; memory in processes of their own, the model's weights and the
reference's among it, the cache's encoders not. What is saved of the memory is one model of the five or six that there
are besides the activations, so the fewer of these are kept, the more it is; the paper's runs had checkpointing on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.support import arms
from benchmarks.support import memory as _memory
from benchmarks.support.interleaved import abba
from benchmarks.support.results import Row, record

TIME, MEMORY = 0.20, 0.175
WAYS = {
    "8 pairs at a time": (),
    "8 pairs at a time, checkpointing": ("--checkpointing",),
    "2 pairs at a time, checkpointing": ("--checkpointing", "--micro-batch", "2"),
}


def size(method: str, way: str, work: Path) -> dict[str, float]:
    """MiB of a process of this method: of the model and of the step at its peak, over an empty process."""
    arm = ["--arm", method, "--way", way]
    command = [sys.executable, "-m", "benchmarks.training.mapo_against_dpo", *arm, "--out", str(work)]
    made = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(made.splitlines()[-1])
    return found


def measure(method: str, way: str, work: Path) -> None:
    """The arm itself: prints its growth over an empty process, imports and cache left out."""
    torch.set_num_threads(1)
    arms.Ours("sdxl", work, "--method", "sft")()  # all that is imported on the way is there before we look
    empty = _memory.resident()
    arm = arms.Ours("sdxl", work, "--method", method, *WAYS[way])
    model = (_memory.resident() - empty) / 2**20
    print(json.dumps({"model": model, "step": _memory.growth(arm, 4)}))


def main() -> int:
    """Print both savings; 1 if one is below its goal."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks mapo_against_dpo", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--rounds", type=int, default=9, help="of A B B A")
    parser.add_argument("--times", type=int, default=3, help="processes an arm, for the memory")
    parser.add_argument("--arm", choices=("mapo", "dpo"), help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=tuple(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("out") / "benchmarks" / "mapo_against_dpo")
    given = parser.parse_args()
    if given.arm:
        measure(given.arm, given.way, given.out)
        return 0
    arms.prepare(given.out)
    return report(given)


def report(given: argparse.Namespace) -> int:
    mapo, dpo = (arms.Ours("sdxl", given.out, "--method", method) for method in ("mapo", "dpo"))
    timed = abba(mapo, dpo, given.rounds)
    saved = 1 - timed.ratio(cpu=True)
    print(
        f"time: {timed.seconds(0, cpu=True):.2f} against {timed.seconds(1, cpu=True):.2f} CPU s a step, {saved:.1%} "
        f"less (goal {TIME:.0%}); mapo/dpo {timed.ratio(cpu=True):.3f} [{timed.spread(cpu=True)}], "
        f"by the clock {timed.ratio():.3f} [{timed.spread()}]",
        flush=True,
    )
    memories = {way: memory(way, given) for way in WAYS}
    rows = [Row("time of a step: less", 100 * saved, "%", f"≥ {100 * TIME:g}", timed.spread(cpu=True))]
    rows += [Row(f"memory, {way}: less", 100 * less, "%") for way, less in memories.items()]
    most = max(memories.values())
    rows.append(Row("memory, at the most: less", 100 * most, "%", f"≥ {100 * MEMORY:g}"))
    record("mapo_against_dpo", rows)
    return 0 if saved >= TIME and most >= MEMORY else 1


def memory(way: str, given: argparse.Namespace) -> float:
    """Print and return the share of the memory that is saved this way."""
    found = {m: [sum(size(m, way, given.out).values()) for _ in range(given.times)] for m in ("mapo", "dpo")}
    mapo, dpo = (statistics.median(found[method]) for method in ("mapo", "dpo"))
    print(
        f"memory, {way}: {mapo:.0f} against {dpo:.0f} MiB, {1 - mapo / dpo:.1%} less (goal {MEMORY:.1%})", flush=True
    )
    return 1 - mapo / dpo


if __name__ == "__main__":
    sys.exit(main())

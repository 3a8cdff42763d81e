"""Memory of a training step: by how much the process grows over its size before the first, ours `fast` and `lean`.

Against the peer's step (`benchmarks/_peers.py`), each arm in a process of its own; then lean's speed against the
peer's, by turns in this one. The losses of lean are those of fast: micro-batches and checkpointing change no loss.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks import _arms
from benchmarks._interleaved import abba

FAST, LEAN = "--micro-batch 8", "--micro-batch 2"
LEAN_GOAL, LEAN_SPEED = 0.7, 1.4


def growth(case: str, arm: str, work: Path, times: int, *flags: str) -> float:
    """The median of some processes' growth, in MiB."""
    command = [sys.executable, "-m", "benchmarks._arms", case, arm, str(work), *flags]
    made = (subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(times))
    return statistics.median(float(json.loads(text.splitlines()[-1])["growth"]) for text in made)


def main() -> int:
    """Print a line a case; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trainer_memory", description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=list(_arms.CASES), help=", ".join(_arms.CASES))
    parser.add_argument("--times", type=int, default=3, help="processes an arm")
    parser.add_argument("--rounds", type=int, default=7, help="of A B B A, for the speed")
    parser.add_argument("--out", type=Path, default=Path("out") / "benchmarks" / "trainer_memory")
    parser.add_argument("--fast", default=FAST, help="flags of our fast arm (default: %(default)s)")
    parser.add_argument("--lean", default=LEAN, help="flags of our lean arm (default: %(default)s)")
    given = parser.parse_args()
    _arms.prepare(given.out)
    missed = []
    print(
        f"| case | peer, MiB | fast, MiB (goal ≤ 100 %) | lean, MiB (goal ≤ {LEAN_GOAL:.0%}) "
        f"| speed of fast | of lean (goal ≥ {LEAN_SPEED}) |\n|{'---|' * 6}"
    )
    for name in given.cases:
        case = _arms.CASES[name]
        theirs = growth(name, "peer", given.out, given.times)
        arms = {"fast": given.fast.split(), "lean": given.lean.split()}
        sizes = {arm: growth(name, "ours", given.out, given.times, *flags) for arm, flags in arms.items()}
        peer = _arms.peer(case, given.out)
        speeds = {
            arm: abba(peer, _arms.Ours(case.shape, given.out, *case.flags, *flags), given.rounds)
            for arm, flags in arms.items()
        }
        cells = [f"{sizes[arm]:.0f} ({sizes[arm] / theirs:.0%})" for arm in arms]
        cells += [f"{speeds[arm].ratio(cpu=True):.2f} [{speeds[arm].spread(cpu=True)}]" for arm in arms]
        print(f"| {name} | {theirs:.0f} | {' | '.join(cells)} |", flush=True)
        missed += [f"{name}, fast"] * (sizes["fast"] > theirs)
        missed += [f"{name}, lean"] * (sizes["lean"] > LEAN_GOAL * theirs)
        missed += [f"{name}, speed of lean"] * (speeds["lean"].ratio(cpu=True) < LEAN_SPEED)
    print(f"missed: {'; '.join(missed)}" if missed else "all goals reached")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

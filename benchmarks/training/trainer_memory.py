"""Memory of a training step and what it costs in speed: ours, at once, in micro-batches or with checkpointing.

Memory is by how much the process grows over its size before the first step; each arm is a process of its own, one
thread. Speed is taken against the peer's step (`benchmarks/support/peers.py`) by turns in this process. `fast` is the
fastest arm that needs no more than the peer, `lean` the smallest that is fast enough. No arm changes a loss.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.support import arms as _arms
from benchmarks.support.interleaved import abba
from benchmarks.support.results import Row, record

WAYS: dict[str, tuple[str, ...]] = {f"{micro} at a time": ("--micro-batch", str(micro)) for micro in (8, 4, 3, 2, 1)}
WAYS |= {f"{micro} at a time, checkpointing": ("--micro-batch", str(micro), "--checkpointing") for micro in (8, 4)}
LEAN, LEAN_SPEED = 0.7, 1.4  # goals: of the peer's memory, and times its speed


@dataclasses.dataclass(frozen=True)
class Arm:
    """Our step in one of the WAYS: MiB it grows by, share of the peer's, times the peer's speed."""

    way: str
    spread: str  # of the speed, over the rounds
    grows: float
    share: float
    speed: float


def growth(case: str, arm: str, work: Path, times: int, *flags: str) -> float:
    """The median of some processes' growth, in MiB."""
    command = [sys.executable, "-m", "benchmarks.support.arms", case, arm, str(work), *flags]
    made = (subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(times))
    return statistics.median(float(json.loads(text.splitlines()[-1])["growth"]) for text in made)


def measure(name: str, given: argparse.Namespace) -> list[Arm]:
    """Print a line for each of our arms."""
    case = _arms.CASES[name]
    theirs = growth(name, "peer", given.out, given.times)
    peer = _arms.peer(case, given.out)
    arms = []
    for way, flags in WAYS.items():
        grows = growth(name, "ours", given.out, given.times, *flags)
        timed = abba(peer, _arms.Ours(case.shape, given.out, *case.flags, *flags), given.rounds)
        spread = timed.spread(cpu=True)
        arms.append(Arm(way, spread, grows, grows / theirs, timed.ratio(cpu=True)))
        print(f"| {name} | {theirs:.0f} | {way} | {grows:.0f} ({grows / theirs:.0%}) | ", end="")
        print(f"{timed.ratio(cpu=True):.2f} [{spread}] |", flush=True)
    return arms


def verdict(name: str, arms: list[Arm]) -> tuple[list[str], list[Row]]:
    """Print which arms are fast and lean; the goals that were missed, and the figures."""
    goal, missed = _arms.CASES[name].goal, []
    fits = [arm for arm in arms if arm.share <= 1]
    fast = max(fits or arms, key=lambda arm: arm.speed)
    quick = [arm for arm in arms if arm.speed >= LEAN_SPEED]
    lean = min(quick or arms, key=lambda arm: arm.share)
    for kind, arm in (("fast", fast), ("lean", lean)):
        print(f"{name}, {kind}: {arm.way}, {arm.share:.0%} of the memory, {arm.speed:.2f} x the speed")
    if not fits or fast.speed < goal:
        missed.append(f"{name}, fast (no more memory at {goal} x the speed)")
    if lean.share > LEAN or lean.speed < LEAN_SPEED:
        missed.append(f"{name}, lean ({LEAN:.0%} of the memory at {LEAN_SPEED} x the speed)")
    rows = []
    for kind, arm, most, least in (
        ("fast", fast, "≤ 100", f"≥ {goal:g}"),
        ("lean", lean, f"≤ {100 * LEAN:g}", f"≥ {LEAN_SPEED:g}"),
        ("whole batch", arms[0], "", ""),
    ):
        rows += [
            Row(f"{name}, {kind}: memory of the peer's", 100 * arm.share, "%", most, note=arm.way),
            Row(f"{name}, {kind}: speed over the peer's", arm.speed, "×", least, arm.spread, arm.way),
        ]
    return missed, rows


def main() -> int:
    """Print a line an arm; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks trainer_memory", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("cases", nargs="*", default=list(_arms.CASES), help=", ".join(_arms.CASES))
    parser.add_argument("--times", type=int, default=3, help="processes an arm")
    parser.add_argument("--rounds", type=int, default=7, help="of A B B A, for the speed")
    parser.add_argument("--out", type=Path, default=Path("out") / "benchmarks" / "trainer_memory")
    given = parser.parse_args()
    _arms.prepare(given.out)
    print(f"| case | peer, MiB | pairs | ours, MiB | times the peer's speed |\n|{'---|' * 5}")
    found = {name: measure(name, given) for name in given.cases}
    verdicts = [verdict(name, arms) for name, arms in found.items()]
    record("trainer_memory", [row for _, rows in verdicts for row in rows])
    missed = [line for lines, _ in verdicts for line in lines]
    print(f"missed: {'; '.join(missed)}" if missed else "all goals reached")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

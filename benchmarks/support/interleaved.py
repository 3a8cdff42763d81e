"""Two functions timed by turns in one process (A B B A), so that whatever else the machine does hits both alike.

A ratio is taken within each round and the median over the rounds is reported, by the clock on the wall and by the
CPU seconds of this process; the second is what stands on a machine that is shared.
"""

from __future__ import annotations

import dataclasses
import random
import statistics
import time
from collections.abc import Callable, Sequence


@dataclasses.dataclass(frozen=True)
class Rounds:
    """Seconds of each round's two calls of A and of B: on the wall, and of this process's CPU."""

    wall: list[tuple[float, float]]
    cpu: list[tuple[float, float]]

    def seconds(self, which: int, *, cpu: bool = False) -> float:
        """The median of one call of A (0) or B (1)."""
        return statistics.median(pair[which] for pair in (self.cpu if cpu else self.wall)) / 2

    def ratio(self, *, cpu: bool = False) -> float:
        """A's seconds over B's: the median over the rounds."""
        return statistics.median(self.ratios(cpu=cpu))

    def ratios(self, *, cpu: bool = False) -> list[float]:
        return [a / b for a, b in (self.cpu if cpu else self.wall)]

    def spread(self, *, cpu: bool = False) -> str:
        """The least and the greatest round, and the 95 % interval of the median by bootstrap."""
        found = self.ratios(cpu=cpu)
        low, high = interval(found)
        return f"{min(found):.2f}-{max(found):.2f}, median's 95 % {low:.2f}-{high:.2f}"


def interval(values: Sequence[float], draws: int = 2000) -> tuple[float, float]:
    """The 95 % bootstrap interval of the median."""
    rng = random.Random(0)
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(draws))
    return medians[draws // 40], medians[-draws // 40]


def abba(a: Callable[[], object], b: Callable[[], object], rounds: int, warm: int = 1) -> Rounds:
    """Call A, B, B, A `rounds` times, after `warm` calls of each that are not counted."""
    for _ in range(warm):
        a()
        b()
    walls, cpus = [], []
    for _ in range(rounds):
        spent = {0: [0.0, 0.0], 1: [0.0, 0.0]}
        for which in (0, 1, 1, 0):
            wall, cpu = time.perf_counter(), time.process_time()
            (a, b)[which]()
            spent[which][0] += time.perf_counter() - wall
            spent[which][1] += time.process_time() - cpu
        walls.append((spent[0][0], spent[1][0]))
        cpus.append((spent[0][1], spent[1][1]))
    return Rounds(walls, cpus)

"""Our LiVO step against the plain formulation: four calls of the U-Net, no cache, on the same weights, pixels, noise.

Whole batch, micro-batches, checkpointing; the relative difference of the loss, and of the gradients' norm. In float64
what differs is the formula; in float32, the loss multiplies the rounding of errors by 1000.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

from benchmarks.support import arms
from benchmarks.support.results import Row, record

LOSS, GRADIENTS = 1e-5, 1e-4


def main() -> int:
    """Print a line a way of cutting the batch; 1 if one differs by more than the goal."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks livo_equal", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("out") / "benchmarks" / "livo_equal")
    given = parser.parse_args()
    arms.prepare(given.out)
    print(
        f"| precision | pairs at a time | checkpointing | loss (goal {LOSS:g}) | gradients (goal {GRADIENTS:g}) |\n"
        f"|{'---|' * 5}"
    )
    reached = True
    worst: dict[str, tuple[float, ...]] = {}
    ways = itertools.product((True, False), (8, 4, 2), ((), ("--checkpointing",)))
    for wide, micro, flags in ways:
        found = [
            arms.unequal(arms.CASES["livo"], given.out, *flags, micro=micro, seed=seed, wide=wide)
            for seed in range(given.seeds)
        ]
        loss, gradients = (max(values) for values in zip(*found, strict=True))
        precision, checkpointing = "float64" if wide else "float32", "on" if flags else "off"
        print(f"| {precision} | {micro} | {checkpointing} | {loss:.1e} | {gradients:.1e} |", flush=True)
        worst[precision] = tuple(map(max, zip(worst.get(precision, (0.0, 0.0)), (loss, gradients), strict=True)))
        reached = reached and loss <= LOSS and gradients <= GRADIENTS
    rows = []
    for precision, (loss, gradients) in worst.items():
        rows += [
            Row(f"loss in {precision}: differs by", loss, "relative", f"≤ {LOSS:g}"),
            Row(f"gradients in {precision}: differ by", gradients, "relative", f"≤ {GRADIENTS:g}"),
        ]
    record("livo_equal", rows)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())

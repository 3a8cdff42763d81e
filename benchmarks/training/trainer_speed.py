"""Pairs a second of our training step against the peers': MaPO, LiVO, and Diffusion-DPO with LoRA on SD 1.5 and SDXL.

Ours has a warm cache; a peer's keeps the order of operations of its script (`benchmarks/support/peers.py`). Both with
plain AdamW, float32, one thread, tiny random models, 128 px from 512 px PNGs, 8 pairs. Losses and gradients are
compared on the same noise first. `--peer-checkout` runs the peer's own script, too, for its seconds a step.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.support import arms, peer_checkout
from benchmarks.support.interleaved import Rounds, abba
from benchmarks.support.results import Row, record

EPOCHS, EPOCHS_GOAL = 5, 1.7
EQUAL = 2e-4  # of losses and gradients, relative; float32 sums in another order, and DPO multiplies errors by 5000


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks trainer_speed", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("cases", nargs="*", default=list(arms.CASES), help=", ".join(arms.CASES))
    parser.add_argument("--rounds", type=int, default=9, help="of A B B A")
    parser.add_argument("--out", type=Path, default=Path("out") / "benchmarks" / "trainer_speed")
    parser.add_argument(
        "--peer-checkout",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a clone of mapo-t2i/mapo, achernarwang/LiVO or huggingface/diffusers; can be given several times",
    )
    return parser.parse_args()


def building(case: arms.Case, work: Path) -> Rounds:
    """Seconds of building the cache from nothing, as A: set-up with nothing cached, less set-up with all of it."""
    folder = work / "cold"

    def build() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        arms.Ours(case.shape, work, *case.flags, cached=folder)

    loading = abba(build, lambda: arms.Ours(case.shape, work, *case.flags), 3, warm=0)
    wall, cpu = ([(a - b, 0.0) for a, b in both] for both in (loading.wall, loading.cpu))
    return Rounds(wall, cpu)


def main() -> int:
    """Print a line a case; 1 if losses differ or a goal is missed."""
    given = parse()
    arms.prepare(given.out)
    pairs = len(arms.rows(given.out))
    missed, rows = [], []
    print(
        "| case | loss, gradients differ by | peer s/step | ours s/step | pairs/s peer → ours | ratio by CPU time ",
        end="",
    )
    print(f"| by the clock | goal | with the cache built, {EPOCHS} epochs (goal {EPOCHS_GOAL}) |\n|{'---|' * 9}")
    for name in given.cases:
        case = arms.CASES[name]
        loss, gradient = arms.unequal(case, given.out)
        timed = abba(arms.peer(case, given.out), arms.Ours(case.shape, given.out, *case.flags), given.rounds)
        theirs, ours = (timed.seconds(which, cpu=True) for which in (0, 1))
        steps = EPOCHS * pairs / arms.BATCH
        built = building(case, given.out).seconds(0, cpu=True)
        epochs = steps * theirs / (built + steps * ours)
        print(
            f"| {name} | {loss:.0e}, {gradient:.0e} | {theirs:.2f} | {ours:.2f} "
            f"| {arms.BATCH / theirs:.1f} → {arms.BATCH / ours:.1f} | {timed.ratio(cpu=True):.2f} "
            f"[{timed.spread(cpu=True)}] | {timed.ratio():.2f} [{timed.spread()}] | {case.goal} "
            f"| {epochs:.2f} (cache of {pairs} pairs: {built:.2f} s) |",
            flush=True,
        )
        spread = timed.spread(cpu=True)
        rows += [
            Row(f"{name}: speed over the peer's, warm cache", timed.ratio(cpu=True), "×", f"≥ {case.goal:g}", spread),
            Row(f"{name}: the same, {EPOCHS} epochs with the cache built", epochs, "×", f"≥ {EPOCHS_GOAL:g}"),
            Row(f"{name}: losses differ by", loss, "relative", f"≤ {EQUAL:g}"),
            Row(f"{name}: gradients differ by", gradient, "relative", f"≤ {EQUAL:g}"),
        ]
        missed += [f"{name}: not equal"] * (max(loss, gradient) > EQUAL)
        missed += [f"{name}: {timed.ratio(cpu=True):.2f}"] * (timed.ratio(cpu=True) < case.goal)
        missed += [f"{name}, five epochs: {epochs:.2f}"] * (epochs < EPOCHS_GOAL)
    record("trainer_speed", rows)
    for checkout in given.peer_checkout:
        with tempfile.TemporaryDirectory() as folder:
            for name, seconds in peer_checkout.measure(checkout, given.out, Path(folder)):
                print(f"{name}, its own script: {seconds:.2f} s/step by the clock", flush=True)
    print(f"missed: {'; '.join(missed)}" if missed else "all goals reached")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

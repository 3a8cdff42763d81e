"""The audit's shortcuts: false alarms in clean runs, and the area of planted ones.

A clean run has pairs whose winner is drawn at random and six facts that have nothing to do with it, of skewed,
heavy-tailed and discrete kinds; a planted one lets the lighter image win in a known share of the pairs, which is the
area.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import numpy as np

from benchmarks.support.results import Row, record
from datagen.labels.audit import shortcuts

SIZES = (60, 300, 2000)  # pairs of a run, one a prompt
PLANTED = (0.7, 0.8, 0.95)
FACTS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "brightness": lambda random, count: random.beta(4, 3, (count, 2)),
    "saturation": lambda random, count: random.beta(2, 5, (count, 2)),
    "sharpness": lambda random, count: random.lognormal(0, 1, (count, 2)),
    "file size": lambda random, count: random.lognormal(10, 0.3, (count, 2)).round(),
    "wording length": lambda random, count: random.poisson(60, (count, 2)).astype(float),
    "generator": lambda random, count: random.choice(["sdxl", "sd15", "flux"], (count, 2)),
}


def run_of(random: np.random.Generator, count: int, share: float | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The facts of a run's winners and losers; `share` of the winners are the lighter ones, None for a clean run."""
    facts = {name: draw(random, count) for name, draw in FACTS.items()}
    if share is not None:
        lighter = random.random(count) < share
        both = np.sort(facts["brightness"], 1)[:, ::-1]
        facts["brightness"] = np.where(lighter[:, None], both, both[:, ::-1])
    return {name: (values[:, 0], values[:, 1]) for name, values in facts.items()}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks shortcuts", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--runs", type=int, default=20, help="of each size")
    runs = parser.parse_args().runs
    rows = []
    for count in SIZES:
        prompts, alarms, tests = np.arange(count), 0, 0
        for seed in range(runs):
            found = shortcuts.audit(run_of(np.random.default_rng([count, seed]), count, None), prompts)
            alarms += any(one.warned for one in found)
            tests += len(found)
        note = f"{runs} runs, {tests} facts tried"
        rows.append(Row(f"clean runs of {count} pairs with a false alarm", alarms, "runs", "≤ 1", note=note))
        for share in PLANTED:
            planted = []
            for seed in range(runs):
                facts = run_of(np.random.default_rng([count, seed, 1]), count, share)
                planted += shortcuts.audit({"brightness": facts["brightness"]}, prompts)
            areas = np.array([one.auc for one in planted], dtype=float)
            what = f"lighter wins in {share:.0%} of {count} pairs"
            spread = f"{areas.min():.3f} to {areas.max():.3f}"
            note = f"warned of in {sum(one.warned for one in planted)} of {runs} runs"
            error = abs(float(areas.mean()) - share)
            rows.append(Row(f"{what}: error of the mean AUC", error, "", "≤ 0.03", spread=spread, note=note))
    for row in rows:
        print(f"{row.what}: {row.figure:g} {row.unit} {row.spread} ({row.note})")
    record("shortcuts", rows)
    return 0 if all(row.reached is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

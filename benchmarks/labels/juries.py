"""Simulated juries: how near labels come to the Bayes rule that knows the jury, beside what others make of them.

`python -m benchmarks juries [--juries 10] [--first 1000] [--only WORD]`. A gap is in points of accuracy behind that
rule, judges alone; `ahead` what the design adds to it. An interval is to hold the probability that the rule gives.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys

import numpy as np

from benchmarks.support.juries import measures, rules
from benchmarks.support.juries.cases import SITUATIONS, Case, Situation
from benchmarks.support.results import Row, record

BAD = 0.06  # calibration error from which judges are badly calibrated: more than the goal of those without labels
# situation → figure → goal
GOALS = {
    "design right in 95 %": {"gap": "≤ 0.3", "ahead": "≥ 8", "ece": "≤ 0.015", "held": "≥ 86"},
    "design right in 85 %": {"gap": "≤ 0.6", "ahead": "≥ 4", "ece": "≤ 0.02", "held": "≥ 86"},
    "design right in 70 %": {"gap": "≤ 1.2", "ahead": "≥ 0.5", "ece": "≤ 0.03", "held": "≥ 86"},
    "300 pairs, design right in 85 %": {"gap": "≤ 1.5", "ece": "≤ 0.03"},
    "100,000 pairs, design right in 85 %": {"gap": "≤ 0.6", "ahead": "≥ 4", "ece": "≤ 0.02", "held": "≥ 86"},
    "votes, design right in 85 %": {"gap": "≤ 1.5", "ece": "≤ 0.03"},
    "margins alone": {"over majority": "≥ 0", "ece": "≤ 0.06"},
    "300 margins alone": {"over majority": "≥ 0", "ece": "≤ 0.06"},
    "planted and null pairs": {"gap": "≤ 0.7", "ece": "≤ 0.03"},
    "margins alone, 200 labels": {
        "ece, share of that without labels": "≤ 0.5",
        f"ece, share of that without labels where it is above {BAD}": "≤ 0.5",
        "made worse by labels": "≤ 0",
    },
    "leak .3 in half, controls": {"gap": "≤ 1.2", "ece": "≤ 0.02"},
    "leak .6 in all, controls": {"gap": "≤ 1.2", "ece": "≤ 0.02"},
}
UNITS = {
    "gap": "points",
    "ahead": "points",
    "held": "%",
    "over majority": "points",
    "promise": "points",
    "made worse by labels": "%",
}


def figures(case: Case) -> dict[str, float]:
    """All that is measured of one jury."""
    count, truth = len(case.truth), case.truth
    found = case.label()
    pairs = {name: getattr(found, name)[:count] for name in ("probability", "judges_only", "low", "high")}
    best = measures.accuracy(case.alone, truth)
    own = measures.accuracy(pairs["judges_only"], truth)
    said = case.margins[:count]
    others = {rule.__name__: rule(said) for rule in (rules.majority, rules.dawid_skene, rules.added)}
    told = {f"{name} gap": 100 * (best - measures.accuracy(of, truth)) for name, of in others.items()}
    told |= {f"{name} ece": measures.ece(of, truth) for name, of in others.items()}
    if not np.isnan(case.known).all():  # what labels of people are good for: of the same pairs
        nobody = dataclasses.replace(case, known=np.full(len(case.known), np.nan)).label()
        without = measures.ece(nobody.probability[:count], truth)
        told["ece without labels"] = without
        share = measures.ece(pairs["probability"], truth) / without
        told["ece, share of that without labels"] = share
        told[f"ece, share of that without labels where it is above {BAD}"] = share if without > BAD else np.nan
        told["made worse by labels"] = 100.0 * (share > 1)
    spans = [judge.leak for judge in found.judges if judge.leak is not None]
    inside = [span.low <= true <= span.high for span, true in zip(spans, case.leak, strict=False)]
    return {
        "gap": 100 * (best - own),
        "ahead": 100 * (measures.accuracy(pairs["probability"], truth) - best),
        "bayes ahead": 100 * (measures.accuracy(case.all, truth) - best),
        "ece": measures.ece(pairs["probability"], truth),
        "judges ece": measures.ece(pairs["judges_only"], truth),
        "bayes ece": measures.ece(case.all, truth),
        "held": 100 * measures.held(pairs["low"], pairs["high"], case.all),
        "width": float((pairs["high"] - pairs["low"]).mean()),
        "promise": 100 * measures.promised(pairs["probability"], truth),
        "over majority": 100 * (own - measures.accuracy(others["majority"], truth)),
        "leaks held": 100 * float(np.mean(inside)) if inside else float("nan"),
        **told,
    }


def measured(situation: Situation, juries: int, first: int) -> list[Row]:
    """The means over so many juries, printed and as rows."""
    every = [figures(situation.case(seed)) for seed in range(first, first + juries)]
    rows = []
    goals = GOALS.get(situation.name, {})
    for name in every[0]:
        values = np.array([one[name] for one in every])
        if np.isnan(values).all():
            continue
        spread = f"{np.nanmin(values):.3g} to {np.nanmax(values):.3g}"
        row = Row(
            f"{situation.name}: {name}", float(np.nanmean(values)), UNITS.get(name, ""), goals.get(name, ""), spread
        )
        rows.append(row)
        mark = "" if row.reached is None else " reached" if row.reached else " MISSED"
        print(f"{row.what:55} {row.figure:8.4g} {row.unit:7} [{spread}] {row.goal}{mark}", flush=True)
    return rows


def main() -> int:
    """0; goals that are missed are printed as such."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks juries", description=__doc__, allow_abbrev=False)
    parser.add_argument("--juries", type=int, default=10, help="how many juries a situation")
    parser.add_argument("--first", type=int, default=1000, help="the first jury's seed")
    parser.add_argument("--only", default="", help="only the situations whose name contains this")
    given = parser.parse_args()
    for situation in SITUATIONS:
        if given.only in situation.name:
            record("juries", measured(situation, given.juries, given.first))
    return 0


if __name__ == "__main__":
    sys.exit(main())

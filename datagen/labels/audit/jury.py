"""What each judge of a jury does, and how far they agree, without any label: coverage, ties, place, generators, kappa.

Shares and coefficients come with intervals of 95 % by prompts. Each function gives plain values for the report, and
warnings in words.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from datagen.labels import resampling
from datagen.labels.audit import agreement
from datagen.labels.audit.evidence import Evidence
from datagen.labels.audit.figures import figure
from datagen.labels.resampling import Numbers, Share

COVERED, TIED, PLACE, SELF = 0.9, 0.5, 0.1, 0.1  # beyond which a judge is warned of
SAME = 1 - 1e-9  # cosine of two judges' margins
GENERATORS = 20  # of more, the most frequent ones are reported


def judges(evidence: Evidence, built: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """What each judge does; `built` says whether these judges made the labels."""
    rows, warnings = [], []
    for column, name in enumerate(evidence.names):
        row = {"name": name, "built": built, **_one(evidence, column)}
        rows.append(row)
        warnings += [f"{name} {said}" for said in _warnings(row)]
    return rows, warnings


def _one(evidence: Evidence, column: int) -> dict[str, Any]:
    margins, prompts = evidence.margins[:, column], evidence.prompts
    asked, spoke = evidence.asked[:, column], ~np.isnan(margins)
    ahead, behind = (np.sign(side[:, column] - 0.5) for side in (evidence.ahead, evidence.behind))
    both = ~np.isnan(ahead) & ~np.isnan(behind)
    return {
        "asked": int(asked.sum()),
        "not_asked": int((~asked).sum()),
        "coverage": figure(resampling.share(spoke, asked, prompts)),
        "ties": figure(resampling.share(margins == 0, spoke, prompts)),
        "consistent": figure(resampling.share(ahead == -behind, both, prompts)),
        "first": figure(resampling.share((ahead + behind) / 4 + 0.5, both, prompts)),
        "generators": _generators(evidence, column),
    }


def _generators(evidence: Evidence, column: int) -> list[dict[str, Any]]:
    """How often each generator's images win against others': by this judge, and by the median of the other judges on
    the same pairs."""
    one, other = evidence.generators[:, 0], evidence.generators[:, 1]
    crossed = (one != other) & ~np.isnan(evidence.margins[:, column])
    names, counts = np.unique(evidence.generators[crossed].astype(str), return_counts=True)
    found = []
    for name in sorted(names[np.argsort(-counts, kind="stable")][:GENERATORS].tolist()):
        met = crossed & ((one == name) | (other == name))
        wins = np.sign(evidence.margins[met]) / 2 + 0.5
        wins = np.where((one[met] == name)[:, None], wins, 1 - wins)
        spoke = ~np.isnan(wins)
        terms = np.concatenate([np.where(spoke, wins, 0.0), spoke], 1)  # of each judge: wins, and pairs
        prompts, count = evidence.prompts[met], int(met.sum())
        rates: dict[str, resampling.Statistic] = {
            "others": lambda sums: _median(sums, column),
            "difference": lambda sums: _rates(sums)[..., column] - _median(sums, column),
        }
        found.append(
            {
                "name": name,
                "wins": figure(resampling.share(wins[:, column], spoke[:, column], prompts)),
                **{key: figure(resampling.estimate(rate, terms, prompts, count)) for key, rate in rates.items()},
            }
        )
    return found


def _rates(sums: Numbers) -> Numbers:
    """(…, J) of wins and pairs (…, 2J): the share that each judge lets win; NaN of one that spoke of none."""
    wins, pairs = np.split(sums, 2, axis=-1)
    found: Numbers = np.divide(wins, pairs, out=np.full(wins.shape, np.nan), where=pairs > 0)
    return found


def _median(sums: Numbers, column: int) -> Numbers:
    """The median of the other judges' rates; NaN if there are none."""
    others = np.sort(np.delete(_rates(sums), column, axis=-1), axis=-1)  # NaN comes last
    known = (~np.isnan(others)).sum(-1)
    if not others.shape[-1]:
        return np.full(sums.shape[:-1], np.nan)
    low, high = np.maximum((known - 1) // 2, 0)[..., None], np.minimum(known // 2, others.shape[-1] - 1)[..., None]
    middle = np.take_along_axis(others, low, -1) + np.take_along_axis(others, high, -1)
    found: Numbers = middle[..., 0] / 2
    return found


def _warnings(row: Mapping[str, Any]) -> list[str]:
    said = []
    if not row["asked"]:
        return ["was asked about no two images"]
    if row["coverage"]["value"] == 0:
        return ["abstained from all pairs"]
    if row["coverage"]["value"] < COVERED:
        said.append(f"speaks of {percent(row['coverage'])} of the pairs it was asked about")
    if row["ties"]["value"] == 1:
        said.append("gives both images of every pair the same score, so it decides nothing")
    elif row["ties"]["value"] > TIED:
        said.append(f"decides nothing in {percent(row['ties'])} of the pairs")
    if _off(row["first"], 0.5, PLACE):
        said.append(f"prefers the image shown first in {percent(row['first'])} of its answers")
    for made in row["generators"]:
        if _off(made["difference"], 0.0, SELF):
            more = "more" if made["difference"]["value"] > 0 else "less"
            said.append(
                f"lets {made['name']} win {percent(made['wins'])}, {more} than the other judges "
                f"({percent(made['others'])}) on the same pairs"
            )
    return said


def _off(found: Mapping[str, Any] | None, middle: float, by: float) -> bool:
    """Whether a figure is further from a value than `by`, and its interval clear of that value."""
    if found is None or found["low"] is None or abs(found["value"] - middle) <= by:
        return False
    return bool(found["low"] > middle or found["high"] < middle)


def percent(found: Mapping[str, Any]) -> str:
    """A share in words."""
    return f"{100 * found['value']:.0f} %"


def agreements(evidence: Evidence) -> tuple[dict[str, Any], list[str]]:
    """How far judges agree beyond chance, two by two and all together."""
    margins, prompts, names = evidence.margins, evidence.prompts, evidence.names
    warnings: list[str] = []
    pairs = []
    for one, other in itertools.combinations(range(len(names)), 2):
        kappa = agreement.cohen(margins[:, one], margins[:, other], prompts)
        pairs.append({"judges": [names[one], names[other]], "cohen": figure(kappa)})
        if said := _of_two(kappa, _same(margins[:, one], margins[:, other])):
            warnings.append(f"{names[one]} and {names[other]} {said}")
    several = len(names) > 1
    return {
        "pairs": pairs,
        "fleiss": figure(agreement.fleiss(margins, prompts)) if several else None,
        "alpha_nominal": figure(agreement.alpha_nominal(margins, prompts)),
        "alpha_interval": figure(agreement.alpha_interval(agreement.in_one_unit(margins), prompts)),
    }, warnings


def _same(one: Numbers, other: Numbers) -> bool:
    """Whether the margins of two judges are the same but for their unit: one score under two names."""
    both = ~np.isnan(one) & ~np.isnan(other)
    one, other = one[both], other[both]
    lengths = float(np.sqrt((one @ one) * (other @ other))) if len(one) > 1 else 0.0
    return lengths > 0 and float(one @ other) > SAME * lengths


def _of_two(kappa: Share, same: bool) -> str | None:
    if same:
        return f"say the same of all {kappa.count} pairs but for their unit, so together they count as one judge"
    if kappa.count and kappa.high <= 0:
        return f"agree no more than by chance (kappa {kappa.value:.2f})"
    return None

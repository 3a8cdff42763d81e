"""How much of their usual worth the judges have in each stratum: one that they cannot read looks like disobedience.

P(design agrees | log-odds l) = e + (1 − 2e)·σ(g·l): the gain g is 1 where judges are what they are elsewhere, and 0
where what they say has nothing to do with what was meant. Both numbers move the agreement, so both have a prior.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from datagen.labels.instrument.condense import condensed
from datagen.labels.instrument.rows import PAIR, Numbers, Rows

GRID = np.linspace(0.0, 1.25, 26)  # gains that are tried
USUAL, APART = 1.0, 0.15  # where the gain is expected, and how surely
BLIND, OTHER = 0.1, 0.05  # the shares of strata whose gain is 0, and anything
ERRORS = np.linspace(-2.0, 2.0, 17)  # logits of the error, around the common one
OBEDIENCE = 0.5  # how far those of strata lie apart
LARGEST = 2_000  # scores of a stratum that are looked at; of more pairs neighbours are put together
_USUAL = np.exp(-0.5 * ((GRID - USUAL) / APART) ** 2)
PRIOR = np.log((1 - BLIND - OTHER) * _USUAL / _USUAL.sum() + OTHER / len(GRID) + BLIND * (GRID == 0))
WEAK = 0.5  # gain below which a stratum teaches nothing about the judges


def gains(log_odds: Numbers, rows: Rows, error: float) -> tuple[Numbers, Numbers]:
    """The gain of each stratum (K,), and its standard deviation; 1 and 0 where there is but one stratum."""
    strata = len(rows.strata)
    if strata == 1:
        return np.ones(1), np.zeros(1)
    mean, deviation = np.ones(strata), np.zeros(strata)
    designed = rows.of(PAIR) & (rows.design != 0)
    common = float(special.logit(min(max(error, 1e-4), 0.4999)))
    for k in range(strata):
        mine = np.flatnonzero(designed & (rows.stratum == k))
        if len(mine):
            mean[k], deviation[k] = _gain(log_odds[mine], rows.design[mine], rows.known[mine], common)
    return mean, deviation


def _gain(log_odds: Numbers, design: Numbers, known: Numbers, common: float) -> tuple[float, float]:
    some = condensed(log_odds, np.zeros(len(log_odds)), design, known, LARGEST)
    said, meant, told, counts = some.score, some.design, some.known, some.counts
    errors = special.expit(common + ERRORS)
    # Of a pair with a label of people it is the label that says whether what was meant was obeyed.
    there = ~np.isnan(told)
    obeyed = float(counts[there] @ ((2 * told - 1) == meant)[there])
    by_people = obeyed * np.log1p(-errors) + (float(counts[there].sum()) - obeyed) * np.log(errors)
    prior = -0.5 * (ERRORS / OBEDIENCE) ** 2
    joint = np.empty((len(GRID), len(errors)))
    for i, gain in enumerate(GRID):
        agreed = special.expit(gain * (said * meant)[~there])
        likely = np.log(errors[:, None] + (1 - 2 * errors[:, None]) * agreed) @ counts[~there] + by_people
        # log P(labels of people | judges)
        likely += counts[there] @ special.log_expit(gain * said[there] * (2 * told[there] - 1))
        joint[i] = likely + prior + PRIOR[i]
    weights = np.exp(special.logsumexp(joint, axis=1) - special.logsumexp(joint))
    mean = float(weights @ GRID)
    return mean, float(np.sqrt(max(weights @ GRID**2 - mean**2, 0.0)))

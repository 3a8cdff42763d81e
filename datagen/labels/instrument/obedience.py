"""How often the image that was meant is the better one, in each stratum, drawn to the others' as far as unsure."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import special

from datagen.labels.instrument.found import Estimate
from datagen.labels.instrument.rows import PAIR, Numbers, Rows

GRID = np.linspace(-6.0, 4.0, 201)  # logit of the share that was not obeyed
SPREADS = (0.02, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5)  # of the strata around their common value, that are tried
SIDE = 1.645  # standard deviations of a 90 % interval


@dataclasses.dataclass(frozen=True)
class Obedience:
    """Logit of the error of each stratum, and its standard deviation."""

    logit: Numbers
    deviation: Numbers

    def log_odds(self, rows: Rows, moved: float | Numbers = 0.0) -> Numbers:
        """What the design adds to the log-odds of A (N,), all strata moved by so many logits."""
        result: Numbers = -rows.design * (self.logit + moved)[rows.stratum]
        return result

    def estimates(self, rows: Rows) -> dict[str, Estimate]:
        """Obedience by the names of the strata that have a design."""
        found = {}
        for k, name in enumerate(rows.strata):
            if (rows.of(PAIR) & (rows.design != 0) & (rows.stratum == k)).any():
                half = SIDE * self.deviation[k]
                ends = special.expit(-np.array([self.logit[k], self.logit[k] + half, self.logit[k] - half]))
                found[name] = Estimate(float(ends[0]), float(ends[1]), float(ends[2]))
        return found


def obedience(log_odds: Numbers, rows: Rows, error: float, deviation: float) -> Obedience:
    """Of judges' log-odds (N,) and the error of all pairs together with the deviation of its logit."""
    common = float(special.logit(min(max(error, 1e-4), 1 - 1e-4)))
    strata = len(rows.strata)
    if strata == 1:
        return Obedience(np.array([common]), np.array([deviation]))
    likely = np.zeros((strata, len(GRID)))
    designed = rows.of(PAIR) & (rows.design != 0)
    for k in range(strata):
        mine = designed & (rows.stratum == k)
        likely[k] = _likelihood(log_odds[mine], rows.design[mine], rows.known[mine])
    posterior = max((_posterior(likely, common, spread) for spread in SPREADS), key=lambda found: found[0])[1]
    mean = posterior @ GRID
    own = np.sqrt(np.maximum(posterior @ GRID**2 - mean**2, 0))
    return Obedience(mean, np.hypot(own, deviation))


def _likelihood(log_odds: Numbers, design: Numbers, known: Numbers) -> Numbers:
    """log P(designs | judges, error) over the grid."""
    errors = special.expit(GRID)
    told = ~np.isnan(known)
    obeyed = float(np.sum((2 * known[told] - 1) == design[told]))
    total = obeyed * np.log1p(-errors) + (float(told.sum()) - obeyed) * np.log(errors)
    p = special.expit(log_odds[~told] * design[~told])
    for i, error in enumerate(errors):
        total[i] += np.log(error + (1 - 2 * error) * p).sum() if len(p) else 0.0
    result: Numbers = total
    return result


def _posterior(likely: Numbers, common: float, spread: float) -> tuple[float, Numbers]:
    """Marginal likelihood of a spread, and the posterior of each stratum over the grid."""
    prior = -0.5 * ((GRID - common) / spread) ** 2
    prior = prior - special.logsumexp(prior)
    joint = likely + prior
    evidence = special.logsumexp(joint, axis=1)
    doubt = -0.5 * (np.log(spread / 0.4) / 1.0) ** 2
    return float(evidence.sum()) + doubt, np.exp(joint - evidence[:, None])

"""What a judge sees of the wording itself: its lean along the design where there is nothing to see (controls)."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import special

from datagen.labels.instrument import moments
from datagen.labels.instrument.rows import CONTROL, PAIR, Codes, Flags, Numbers, Rows

LEVEL = 0.05  # at which controls must reject that nobody leaks


@dataclasses.dataclass(frozen=True)
class Leak:
    """Arrays (J,) in the judges' own units: what is taken out, the raw mean and its standard error; and how many rows.

    `covariance` (J, J) is of the mean. `blinded` judges see more of the wording than of the truth.
    """

    taken: Numbers
    mean: Numbers
    error: Numbers
    noise: Numbers
    covariance: Numbers
    rows: int
    blinded: Flags

    def among(self, judges: Codes) -> Leak:
        """Of some of the judges."""
        of_each = {name: getattr(self, name)[judges] for name in ("taken", "mean", "error", "noise", "blinded")}
        return dataclasses.replace(self, covariance=self.covariance[np.ix_(judges, judges)], **of_each)


def leak(margins: Numbers, rows: Rows) -> Leak | None:
    """None without controls that a judge spoke of."""
    mine = rows.of(CONTROL)
    spoken = margins[mine]
    if not mine.any() or np.isnan(spoken).all():
        return None
    weights = np.ones(len(spoken))
    mean, number = moments.along(spoken, rows.design[mine], weights)
    rest = spoken - rows.design[mine][:, None] * mean
    second, _ = moments.second(rest, weights)
    own = np.maximum(np.diag(number), 1.0)
    if min(own[np.diag(number) > 0]) > 1:
        second = second * np.sqrt(np.outer(own / np.maximum(own - 1, 1), own / np.maximum(own - 1, 1)))
    second, _ = moments.shrunk_second(second, number)
    covariance = second * np.maximum(number, 0) / np.outer(own, own)
    covariance += np.diag(np.where(np.diag(number) > 0, 1e-12 * np.maximum(np.diag(second), 1e-12), 1e12))
    along, _ = moments.along(margins, rows.design, rows.of(PAIR).astype(float))
    taken, blinded = _taken(mean, covariance, int(own.max()), along)
    error, noise = np.sqrt(np.diag(covariance)), np.sqrt(np.diag(second))
    return Leak(taken, mean, error, noise, covariance, int(mine.sum()), blinded)


def _taken(mean: Numbers, covariance: Numbers, count: int, along: Numbers) -> tuple[Numbers, Flags]:
    """What is taken out of each judge, and the judges whose lean `along` the design is turned round by that.

    Weighed by what is left, those would count against what they say, and agree with every design for that. Whether
    the others leak is not told by them.
    """
    taken, blinded = np.zeros(len(mean)), np.zeros(len(mean), dtype=bool)
    while not blinded.all():
        rest = np.flatnonzero(~blinded)
        taken[:] = 0.0
        taken[rest] = _shrunk(mean[rest], covariance[np.ix_(rest, rest)], count)
        turned = along * (along - taken) < 0
        if not turned.any():
            break
        blinded |= turned
    return np.where(blinded, 0.0, taken), blinded


def _shrunk(mean: Numbers, covariance: Numbers, count: int) -> Numbers:
    """James and Stein's estimate, the positive part, in the metric of the errors; 0 unless the mean is significant."""
    judges = len(mean)
    distance = float(mean @ np.linalg.solve(covariance, mean))
    free = max(count - judges, 1)
    limit = judges * (count - 1) / free * float(special.fdtri(judges, free, 1 - LEVEL))  # Hotelling's test
    if count <= judges + 1 or distance <= limit:
        return np.zeros(judges)
    result: Numbers = max(0.0, 1 - max(judges - 2, 0) / distance) * mean
    return result

"""What a judge sees of the wording itself: its lean along the design where there is nothing to see (controls)."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import special

from datagen.labels.instrument import moments
from datagen.labels.instrument.rows import CONTROL, Numbers, Rows

LEVEL = 0.05  # at which controls must reject that nobody leaks


@dataclasses.dataclass(frozen=True)
class Leak:
    """Arrays (J,) in the judges' own units: what is taken out, the raw mean and its standard error; and how many rows.

    `covariance` (J, J) is of the mean.
    """

    taken: Numbers
    mean: Numbers
    error: Numbers
    noise: Numbers
    covariance: Numbers
    rows: int


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
    taken = _shrunk(mean, covariance, int(own.max()))
    return Leak(taken, mean, np.sqrt(np.diag(covariance)), np.sqrt(np.diag(second)), covariance, int(mine.sum()))


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

"""From log-odds that are not quite known to probabilities: what the link is unsure of multiplies the judges' log-odds.

A link that is off makes all log-odds too large or too small, and does not turn them round; so l·exp(t), t normal,
stands for what it might be, and only what weights, strata and the design are unsure of is added.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from datagen.labels.instrument.rows import Numbers

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
MOST = 1.5  # standard deviation of t; what is beyond it is added


def mean(judges: Numbers, held: Numbers, of_judges: Numbers, of_all: Numbers) -> Numbers:
    """Mean probability (N,) of log-odds judges + held, whose deviations are `of_judges` and, of both, `of_all`.

    Over what is added by MacKay's approximation (1992), over what multiplies by quadrature.
    """
    factor, rest = _split(judges, of_judges, of_all)
    flat = np.sqrt(1 + np.pi * rest**2 / 8)
    result = np.zeros(len(judges))
    for node, weight in zip(NODES, WEIGHTS, strict=True):
        result += weight * special.expit((judges * np.exp(factor * node) + held) / flat)
    return result


def interval(
    judges: Numbers, held: Numbers, of_judges: Numbers, of_all: Numbers, side: float
) -> tuple[Numbers, Numbers]:
    """The probabilities (N,) so many standard deviations below and above."""
    factor, rest = _split(judges, of_judges, of_all)
    less, more = judges * np.exp(-side * factor), judges * np.exp(side * factor)
    low, high = np.minimum(less, more) + held, np.maximum(less, more) + held
    # Both kinds of doubt are independent: their distances from the middle add up in squares.
    middle = judges + held
    down, up = np.hypot(middle - low, side * rest), np.hypot(high - middle, side * rest)
    return special.expit(middle - down), special.expit(middle + up)


def _split(judges: Numbers, of_judges: Numbers, of_all: Numbers) -> tuple[Numbers, Numbers]:
    """The standard deviation of the factor's logarithm, and of what is added."""
    size = np.abs(judges)
    factor = np.minimum(of_judges / np.where(size > 0, size, 1.0), MOST) * (size > 0)
    rest = np.sqrt(np.maximum(of_all**2 - (factor * size) ** 2, 0.0))
    return factor, rest

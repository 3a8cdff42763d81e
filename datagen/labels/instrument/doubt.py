"""From log-odds that are not quite known to probabilities: what the link is unsure of multiplies the judges' log-odds.

A link that is off makes all log-odds too large or too small, and does not turn them round; so l·exp(t), t normal,
stands for what it might be, and only what weights, strata and the design are unsure of is added.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from datagen.labels.instrument.rows import Flags, Numbers

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
SIDE, ONE_SIDE = 1.6449, 1.2816  # standard deviations that leave 5 and 10 % beyond them
NONE_SEEN = 2.3026  # events that are expected where none is seen with a probability of 10 %
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
    judges: Numbers, held: Numbers, of_judges: Numbers, of_all: Numbers, open_: Flags
) -> tuple[Numbers, Numbers]:
    """The 90 % interval (N,) of the probability of such log-odds; of those that are `open_`, all 10 % are on one side.

    There the judges may be as certain as one likes, so that the other end is 0 or 1.
    """
    side = np.where(open_, ONE_SIDE, SIDE)
    factor, rest = _split(judges, of_judges, of_all)
    less, more = judges * np.exp(-side * factor), judges * np.exp(side * factor)
    low, high = np.minimum(less, more) + held, np.maximum(less, more) + held
    # Both kinds of doubt are independent: their distances from the middle add up in squares.
    middle = judges + held
    down, up = np.hypot(middle - low, side * rest), np.hypot(high - middle, side * rest)
    bottom, top = special.expit(middle - down), special.expit(middle + up)
    return np.where(open_ & (judges < 0), 0.0, bottom), np.where(open_ & (judges > 0), 1.0, top)


def beyond(judges: Numbers, error: float, pairs: Flags) -> Flags:
    """The rows (N,) of which a run cannot tell that their judges are ever wrong.

    Of the n `pairs` whose judges are at least as certain as those of a row, some W are expected to be wrong. What was
    meant is wrong in a share `error` of them as well, whose chance differences hide a smaller W; and where it never
    is, none is seen with a probability of e^−W. How certain the judges are there is the link's guess alone: its tails
    decide, which nothing in a run can test.
    """
    size = np.abs(judges)
    order = np.flatnonzero(pairs)[np.argsort(-size[pairs], kind="stable")]
    wrong = np.cumsum(special.expit(-size[order]))
    hidden = SIDE * np.sqrt(np.arange(1, len(order) + 1) * error * (1 - error)) / (1 - 2 * error) + NONE_SEEN
    told = np.flatnonzero(wrong > hidden)
    limit = size[order[told[0]]] if len(told) else 0.0
    result: Flags = size > limit
    return result


def _split(judges: Numbers, of_judges: Numbers, of_all: Numbers) -> tuple[Numbers, Numbers]:
    """The standard deviation of the factor's logarithm, and of what is added."""
    size = np.abs(judges)
    factor = np.minimum(of_judges / np.where(size > 0, size, 1.0), MOST) * (size > 0)
    rest = np.sqrt(np.maximum(of_all**2 - (factor * size) ** 2, 0.0))
    return factor, rest

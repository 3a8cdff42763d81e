"""From a pair's score to the log-odds of its truth, and how often the design was obeyed.

Given truth z = ±1, y = z·d + noise: d is how clear the pair is (lognormal, mean 1), the noise of known variance has
tails of Student's t. P(design agrees | y) = e + (1 − 2e)·P(z = design | y), e the share that was not obeyed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy import interpolate, special

from datagen.labels.instrument.rows import Numbers
from datagen.labels.instrument.together import together

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(11)
_WEIGHTS = np.log(_WEIGHTS / _WEIGHTS.sum())
LEAST = 0.05  # variance of the noise, in units of the squared signal
MANY = 1_000  # scores with the same noise from which on a table is made for them
FINE = 32  # entries of a table of log-odds in a standard deviation of the noise


@dataclasses.dataclass(frozen=True)
class Link:
    """`error` e; `spread` of log clarity; `tail` = 1/degrees of freedom; `noise`, by which its variance is larger."""

    error: float
    spread: float
    tail: float
    noise: float

    @staticmethod
    def of(at: Numbers) -> Link:
        """From free coordinates."""
        error, spread, tail, noise = (float(value) for value in at)
        return Link(
            0.5 * float(special.expit(error)), float(np.exp(spread)), 0.45 * float(special.expit(tail)),
            float(np.exp(noise)),
        )  # fmt: skip


# In free coordinates: where a link is expected before anything is seen, and how surely.
EXPECTED = np.array([-1.4, -0.7, -1.5, 0.0])
SURE = np.array([1.2, 0.5, 1.0, 0.15])


def sides(y: Numbers, variance: Numbers, spread: float, tail: float) -> tuple[Numbers, Numbers]:
    """log p(y | z = +1) and log p(y | z = −1), up to the same constant."""
    clear = np.exp(spread * _NODES - spread * spread / 2)
    found = []
    for sign in (1.0, -1.0):
        logs = y[:, None] - sign * clear
        logs *= logs
        logs /= variance[:, None]
        if tail < 1e-3:
            logs /= -2
        else:  # in place: of 100,000 pairs most of the time goes into writing tables of their size
            free = 1 / tail
            logs /= free - 2
            np.log1p(logs, out=logs)
            logs *= -(free + 1) / 2
        logs += _WEIGHTS
        top = logs.max(1)
        logs -= top[:, None]
        found.append(top + np.log(np.exp(logs, out=logs).sum(1)))
    return found[0], found[1]


def odds(y: Numbers, variance: Numbers, link: Link) -> Numbers:
    """Log-odds of z = +1 (N,) of scores in units of the mean signal; 0 where nobody spoke, whose variance is inf.

    Where many scores have the same noise they are read off a table.
    """
    found, there = np.zeros(len(y)), np.isfinite(variance)
    values, which, counts = np.unique(variance, return_inverse=True, return_counts=True)
    for k in np.flatnonzero((counts >= MANY) & np.isfinite(values)):
        at = which == k
        found[at] = _curve(y[at], _held(values[k : k + 1], link), link)
        there &= ~at
    found[there] = exactly(y[there], _held(variance[there], link), link)
    return found


def _held(variance: Numbers, link: Link) -> Numbers:
    """The variance that is believed (N,)."""
    result: Numbers = np.maximum(variance, LEAST) * link.noise
    return result


def _curve(y: Numbers, variance: Numbers, link: Link) -> Numbers:
    """Log-odds (N,) of scores with one variance (1,), odd in y, by a cubic spline: 1e-5 off at most."""
    step, size = float(np.sqrt(variance[0])) / FINE, np.abs(y)
    if size.max() / step > len(y) / 2:  # the table would be hardly shorter
        return exactly(y, np.repeat(variance, len(y)), link)
    knots = np.arange(-2, size.max() / step + 3) * step
    at_knots = exactly(knots, np.repeat(variance, len(knots)), link)
    result: Numbers = np.sign(y) * interpolate.CubicSpline(knots, at_knots)(size)
    return result


def exactly(y: Numbers, variance: Numbers, link: Link) -> Numbers:
    """Log-odds (N,) by the sum over clarities."""
    one, other = sides(y, variance, link.spread, link.tail)
    result: Numbers = one - other
    return result


def odds_and_density(y: Numbers, variance: Numbers, link: Link) -> tuple[Numbers, Numbers]:
    """The same, and log p(y) (N,), both truths being equally probable; 0 where nobody spoke."""
    there = np.isfinite(variance)
    held = _held(variance[there], link)
    one, other = sides(y[there], held, link.spread, link.tail)
    free = 1 / max(link.tail, 1e-3)
    size = special.gammaln((free + 1) / 2) - special.gammaln(free / 2) - np.log(np.pi * held * (free - 2)) / 2
    found, density = np.zeros(len(y)), np.zeros(len(y))
    found[there], density[there] = one - other, np.logaddexp(one, other) + size
    return found, density


def agreement(log_odds: Numbers, design: Numbers, error: float | Numbers) -> Numbers:
    """log P(design | log-odds of the truth) (N,); 0 where there is no design."""
    likely = error + (1 - 2 * np.asarray(error)) * special.expit(log_odds * design)
    result: Numbers = np.where(design != 0, np.log(np.maximum(likely, 1e-12)), 0.0)
    return result


def slopes(of: Callable[[Numbers], Numbers], at: Numbers, step: float = 0.05) -> Numbers:
    """How each row's value changes with each coordinate (N, coordinates)."""
    moves = np.eye(len(at)) * step
    found = together(of, [at + sign * move for move in moves for sign in (1, -1)])
    return np.stack([(more - less) / (2 * step) for more, less in zip(found[::2], found[1::2], strict=True)], 1)


def information(of: Callable[[Numbers], Numbers], at: Numbers, counts: Numbers | float = 1.0) -> Numbers:
    """Sum of squared slopes of the rows' log-likelihoods: their curvature if the link is right, and never negative.

    A row stands for so many as `counts` (N,) says.
    """
    found = slopes(of, at)
    result: Numbers = (found.T * counts) @ found
    return result

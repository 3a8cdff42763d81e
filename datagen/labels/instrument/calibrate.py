"""Calibration on known labels: a temperature, or from 1,000 labels on a monotone curve if that predicts them better.

Both leave log-odds of 0 where they are and treat A and B alike. A row's own prompt has no part in its calibration.
"""

from __future__ import annotations

import numpy as np
from scipy import optimize, special

from datagen.labels.instrument.rows import Codes, Flags, Numbers

MANY = 1000  # labels from which a curve is tried
SURE = 0.4  # standard deviation of log temperature before anything is seen
BINS = 10


def temperature(log_odds: Numbers, known: Numbers) -> float:
    """What log-odds are multiplied by to predict labels (0 or 1) best."""
    if len(known) == 0:
        return 1.0
    toward = log_odds * (2 * known - 1)

    def loss(factor: float) -> float:
        return float(np.logaddexp(0, -np.exp(factor) * toward).sum() + 0.5 * (factor / SURE) ** 2)

    found = optimize.minimize_scalar(loss, bounds=(-3.0, 2.0), method="bounded")
    return float(np.exp(found.x)) if loss(float(found.x)) < loss(0.0) else 1.0


def curve(log_odds: Numbers, known: Numbers) -> tuple[Numbers, Numbers]:
    """Log-odds of 0 and more, and what they are worth: isotonic over both images' view of each label."""
    size = np.abs(log_odds)
    right = np.where(log_odds > 0, known, 1 - known).astype(float)
    right[log_odds == 0] = 0.5
    order = np.argsort(size, kind="stable")
    both = np.concatenate([1 - right[order][::-1], right[order]])
    fitted = optimize.isotonic_regression(both).x[len(size) :]
    edges = np.flatnonzero(np.diff(fitted)) + 1
    blocks = np.split(np.arange(len(fitted)), edges)
    at = np.array([size[order][block].mean() for block in blocks])
    inside = np.array([(fitted[block].sum() + 0.5) / (len(block) + 1) for block in blocks])
    worth = special.logit(np.maximum(inside, 0.5))
    return np.concatenate([[0.0], at]), np.concatenate([[0.0], np.maximum.accumulate(worth)])


def bent(log_odds: Numbers, along: tuple[Numbers, Numbers]) -> Numbers:
    """Log-odds by a curve; beyond its end they keep its last value."""
    result: Numbers = np.sign(log_odds) * np.interp(np.abs(log_odds), *along)
    return result


def calibrated(log_odds: Numbers, known: Numbers, told: Flags, fold: Codes) -> tuple[Numbers, float, bool]:
    """Log-odds (N,) after calibration, the temperature of all labels, and whether a curve was taken."""
    by_heat, by_curve = np.array(log_odds), np.array(log_odds)
    many = int(told.sum()) >= MANY
    for part in np.unique(fold):
        others = told & (fold != part) if len(np.unique(fold)) > 1 else told
        mine = fold == part
        by_heat[mine] = log_odds[mine] * temperature(log_odds[others], known[others])
        if many:
            by_curve[mine] = bent(log_odds[mine], curve(log_odds[others], known[others]))
    heat = temperature(log_odds[told], known[told])
    toward = 2 * known[told] - 1
    losses = [float(np.logaddexp(0, -kind[told] * toward).sum()) for kind in (by_heat, by_curve)]
    if many and losses[1] < losses[0]:
        return by_curve, heat, True
    return by_heat, heat, False


def brier(log_odds: Numbers, known: Numbers) -> float:
    """Mean squared error of the probabilities."""
    return float(np.mean((special.expit(log_odds) - known) ** 2))


def ece(log_odds: Numbers, known: Numbers) -> float:
    """Expected calibration error over BINS bins of as many pairs."""
    sure = special.expit(np.abs(log_odds))
    right = np.where(log_odds == 0, 0.5, (log_odds > 0) == (known > 0.5))
    parts = np.array_split(np.argsort(sure, kind="stable"), BINS)
    return float(sum(abs((sure[part] - right[part]).sum()) for part in parts) / len(known))

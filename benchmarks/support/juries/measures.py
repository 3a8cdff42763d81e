"""How good probabilities P(A is better) (N,) are, given the truth ±1 (N,)."""

from __future__ import annotations

import numpy as np

from benchmarks.support.juries.simulate import Numbers

BINS = 15


def accuracy(probability: Numbers, truth: Numbers) -> float:
    """The share of right ones; even odds are half right."""
    return float(np.where(probability == 0.5, 0.5, (probability > 0.5) == (truth > 0)).mean())


def ece(probability: Numbers, truth: Numbers, bins: int = BINS) -> float:
    """Expected calibration error of the more probable side, over bins of as many pairs."""
    sure = np.maximum(probability, 1 - probability)
    right = np.where(probability == 0.5, 0.5, (probability > 0.5) == (truth > 0))
    parts = np.array_split(np.argsort(sure, kind="stable"), bins)
    return float(sum(abs((sure[part] - right[part]).sum()) for part in parts) / len(truth))


def held(low: Numbers, high: Numbers, true: Numbers) -> float:
    """The share of intervals that hold the probability that the Bayes rule gives."""
    return float(((low <= true) & (true <= high)).mean())


def promised(probability: Numbers, truth: Numbers, share: float = 0.8) -> float:
    """Of the most certain share: what the probabilities promise less how many are right."""
    sure = np.maximum(probability, 1 - probability)
    kept = np.argsort(-sure, kind="stable")[: int(share * len(sure))]
    right = (probability[kept] > 0.5) == (truth[kept] > 0)
    return float(sure[kept].mean() - right.mean())

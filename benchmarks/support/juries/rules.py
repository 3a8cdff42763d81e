"""What others make of margins (N, J), NaN where a judge abstained: P(A is better) (N,) without any knowledge."""

from __future__ import annotations

import numpy as np
from scipy import special

from benchmarks.support.juries.simulate import Numbers


def majority(margins: Numbers) -> Numbers:
    """Each judge has one vote, worth as much as a judge that is right in 73 of 100 pairs; no vote is even odds."""
    result: Numbers = special.expit(np.nansum(np.sign(margins), axis=1))
    return result


def dawid_skene(margins: Numbers, rounds: int = 200) -> Numbers:
    """Votes by Dawid and Skene (1979), the same for both images, by expectation and maximisation."""
    votes = np.nan_to_num(np.sign(margins))
    right = np.full(votes.shape[1], 0.7)
    probability = np.full(len(votes), 0.5)
    for _ in range(rounds):
        probability = special.expit(votes @ special.logit(right))
        agree = np.where(votes > 0, probability[:, None], np.where(votes < 0, 1 - probability[:, None], 0.0))
        right = np.clip((agree.sum(0) + 2) / ((votes != 0).sum(0) + 3), 0.02, 0.98)
    return probability


def added(margins: Numbers) -> Numbers:
    """Log-odds of independent judges added up, each on a scale that makes its usual margin one log-odds."""
    usual = np.array([np.median(np.abs(column[~np.isnan(column)])) for column in margins.T])
    result: Numbers = special.expit(np.nansum(margins / np.where(usual > 0, usual, 1.0), axis=1))
    return result

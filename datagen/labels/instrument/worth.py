"""What scores are worth: how far what they say is from what was expected of them, and their log-odds by that."""

from __future__ import annotations

import dataclasses

import numpy as np

from datagen.labels.instrument import link as links
from datagen.labels.instrument.link import Link
from datagen.labels.instrument.moments import Moments
from datagen.labels.instrument.rows import PAIR, Flags, Numbers, Rows

PRIOR_PAIRS = 4.0  # judges of unknown worth are believed as if so many pairs had said nothing
TINY = 1e-9


@dataclasses.dataclass(frozen=True)
class Worth:
    """What scores really are, in units of what was expected: along the design, and squared.

    `votes` are the judges that only vote, by their share in a score and their correlation with the design: a vote is
    worth less than a normal margin with the same correlation.
    """

    along: float
    square: float
    votes: tuple[Numbers, Numbers] = (np.zeros(0), np.zeros(0))

    def noise(self, error: float) -> float:
        """By what the noise of scores is larger than that of normal margins."""
        share, seen = self.votes
        truth = np.clip(seen * self.along / (1 - 2 * error), 0.01, 0.98)
        worth = np.arctanh(truth) * (1 - truth**2) / truth
        return 1 / max(1 - float((share * (1 - worth)).sum()), 0.2)

    @staticmethod
    def of(score: Numbers, expected: Numbers, rows: Rows, learnt: Moments, votes: Flags) -> Worth:
        """On the pairs that scores were not made from."""
        designed = rows.of(PAIR) & (rows.design != 0) & (expected > TINY)
        pairs = rows.of(PAIR) & (expected > TINY)
        if not designed.any():
            return Worth(1e-3, 1.0)
        along = float((score * rows.design)[designed].sum() / expected[designed].sum())
        square = float((score**2)[pairs].sum() / expected[pairs].sum())
        # Few pairs overstate what they explain: as if PRIOR_PAIRS more had explained nothing.
        doubt = 1 + PRIOR_PAIRS / int(designed.sum())
        share = np.linalg.solve(learnt.second, learnt.signal) * learnt.signal
        share = np.where(votes, share / max(float(share.sum()), TINY), 0.0)
        seen = learnt.signal / np.sqrt(np.maximum(np.diag(learnt.second), TINY))
        return Worth(max(along, 1e-3), square * doubt, (np.maximum(share, 0.0), seen))

    def odds(self, score: Numbers, expected: Numbers, link: Link) -> Numbers:
        """Log-odds of the truth of scores (N,) of which so much was expected along the design."""
        signal, variance = self.scaled(expected, link)
        return links.odds(score / signal, variance, link)

    def scaled(self, expected: Numbers, link: Link) -> tuple[Numbers, Numbers]:
        """Each score's signal, and its noise's variance in units of the squared signal; inf where nobody spoke."""
        there = expected > TINY
        signal = self.along / (1 - 2 * link.error) * np.where(there, expected, 1.0)
        variance = self.square * expected / signal**2 - np.exp(link.spread**2)
        return signal, np.where(there, np.maximum(variance, links.LEAST) * self.noise(link.error), np.inf)

"""The link between scores and truth that designs, labels of people and what judges agree in make most likely."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy import optimize, special

from datagen.labels.instrument import link as links
from datagen.labels.instrument import unaided
from datagen.labels.instrument.condense import Scores, condensed
from datagen.labels.instrument.link import Link
from datagen.labels.instrument.moments import Moments
from datagen.labels.instrument.rows import Numbers
from datagen.labels.instrument.together import together
from datagen.labels.instrument.worth import TINY, Worth

LARGEST = 6_000  # scores that a link is fitted to; of more pairs neighbours are put together
CLOSE = 1e-7  # of the loss: nearer to the best link there is nothing to see
LIMITS = [(-7, 4), (-3, 0.7), (-5, 3), (-1.5, 1.5)]  # of the free coordinates
FEW = 1.2  # log of the factor by which the noise of one pair may be off
SHAPE = 0.3  # what the distribution of the scores counts beside what it says of the designs: tails are never quite so
AGREEING = 0.1  # standard deviation of log(1 − 2e) by the judges' agreement with each other
FREE = 3.0  # degrees of freedom of that: where designs contradict what judges agree in, they are believed
POOR = 0.3  # an error of the design that is tried as well
# What the fit from below leaves out of votes' agreement, as a logarithm: the mean of 120 simulated juries.
BELOW = 0.065
VOTED, VOTED_SURE = -1.6, 0.3  # log spread of clarity where judges vote, and its standard deviation


@dataclasses.dataclass(frozen=True)
class Posterior:
    """Of a link's free coordinates, given scores of pairs of which something is known.

    `centre` and `doubt` (4,) are what is expected of them, `seen` and `surely` log(1 − 2e) by what judges agree in;
    `shape` is what the density of scores counts, and `free` how far `seen` may be contradicted.
    """

    every: Scores
    worth: Worth
    centre: Numbers
    doubt: Numbers
    seen: float
    surely: float
    shape: float
    free: float

    @staticmethod
    def of(
        score: Numbers, expected: Numbers, design: Numbers, known: Numbers, worth: Worth, learnt: Moments
    ) -> Posterior:
        """Of N scores (N,), their expectation, the designs and the labels of people."""
        voted = float(worth.votes[0].sum()) > 0.5
        every = condensed(score, expected, design, known, LARGEST)
        # Votes have no density, and designs that go with them say too little to contradict anything.
        shape, free = (0.0, 1e9) if voted else (SHAPE, FREE)
        return Posterior(every, worth, *expected_link(len(score), voted), *obeyed(learnt, voted), shape, free)

    def loss(self, at: Numbers, of: Scores, shape: float) -> float:
        """Minus its logarithm, of some scores."""
        prior = float((((at - self.centre) / self.doubt) ** 2).sum()) / 2
        prior += (self.free + 1) / 2 * float(np.log1p(self._apart(at) ** 2 / self.free))
        return prior - float(of.counts @ likelihood(at, of, self.worth, shape))

    def valley(self, start: Numbers, some: Scores) -> Numbers:
        """Weak judges of a good design and sure ones of a bad design are valleys: the deepest, by some scores."""
        agreed = np.array([special.logit(1 - np.exp(self.seen)), *self.centre[1:]])
        poor = np.array([special.logit(2 * POOR), *self.centre[1:]])
        found = [self._least(at, some) for at in (start, agreed, poor)]
        return np.asarray(min(found, key=lambda one: float(one.fun)).x)

    def best(self, begin: Numbers) -> Numbers:
        """The most likely coordinates near some."""
        return np.asarray(self._least(begin, self.every).x)

    def information(self, at: Numbers) -> Numbers:
        """Its curvature there (4, 4)."""
        of = self.every
        found = links.information(lambda there: likelihood(there, of, self.worth, self.shape), at, of.counts)
        found += np.diag(1 / self.doubt**2)
        moves = (float(special.expit(at[0])) / self.surely) ** 2
        found[0, 0] += moves * (self.free + 1) / (self.free + float(self._apart(at) ** 2))
        return found

    def _apart(self, at: Numbers) -> Any:
        return (np.log1p(-special.expit(at[0])) - self.seen) / self.surely

    def _least(self, begin: Numbers, of: Scores) -> Any:
        options = {"ftol": CLOSE, "workers": together}
        arguments = (of, self.shape)
        return optimize.minimize(self.loss, begin, args=arguments, method="L-BFGS-B", bounds=LIMITS, options=options)


def likelihood(at: Numbers, of: Scores, worth: Worth, shape: float = 0.0) -> Numbers:
    """log P(design and known label | score) of each score, and so much of log p(score).

    The density says how far apart the two truths lie in the scores, which designs alone hardly tell.
    """
    link = Link.of(at)
    signal, variance = worth.scaled(of.expected, link)
    log_odds, density = links.odds_and_density(of.score / signal, variance, link)
    result = links.agreement(log_odds, of.design, link.error)
    told = ~np.isnan(of.known)
    if told.any():
        truth = 2 * of.known[told] - 1
        obeyed = np.log(np.where(of.design[told] == truth, 1 - link.error, link.error))
        result[told] = links.agreement(log_odds[told], truth, 0.0) + np.where(of.design[told] != 0, obeyed, 0.0)
    return result + shape * (density - np.log(signal)) if shape else result


def expected_link(count: int, votes: bool) -> tuple[Numbers, Numbers]:
    """A link's free coordinates before anything is seen, and their standard deviations.

    Few pairs say little of the noise. Votes do not grow with what is clear, so clarity hardly differs in them.
    """
    centre, deviation = links.EXPECTED.copy(), links.SURE.copy()
    deviation[3] = np.hypot(deviation[3], FEW / np.sqrt(max(count, 1)))
    if votes:
        centre[1], deviation[1] = VOTED, VOTED_SURE
    return centre, deviation


def obeyed(learnt: Moments, votes: bool) -> tuple[float, float]:
    """log(1 − 2e) and its standard deviation, of what the judges agree in with the design and with each other.

    If what they agree in is the truth, both go from judge to judge in one proportion. As far as they do not, judges
    agree in errors, which say nothing of the design.
    """
    weight = np.linalg.solve(learnt.second, learnt.signal)
    together, size = unaided.common(learnt.second), np.sqrt(np.maximum(np.diag(learnt.second), TINY))
    along, common = float(weight @ learnt.signal), float(weight @ together)
    if len(weight) < 3 or along <= 0 or common <= 0:
        return float(np.log(0.75)), 1.0
    deviation = AGREEING / 2 if votes else AGREEING  # votes say nearly nothing of it by themselves
    found = float(np.log(np.clip(along / common, 0.05, 0.99))) - (BELOW if votes else 0.0)
    likely, seen = together / size, learnt.signal / size
    explained = max(float(likely @ seen), TINY) / float(likely @ likely) * likely
    # .03 as a rule, .15 at most where e is found.
    apart = float(((seen - explained) ** 2).sum() / (explained**2).sum())
    return found, float(np.hypot(deviation if len(weight) > 3 else 2 * deviation, min(apart, 2.0)))

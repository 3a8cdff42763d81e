"""The judges weighed by what the images were meant to show: scores across folds of prompts, then one link for all."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy import optimize, special

from datagen.labels.instrument import link as links
from datagen.labels.instrument import moments, unaided
from datagen.labels.instrument.condense import Scores, condensed
from datagen.labels.instrument.link import Link
from datagen.labels.instrument.moments import Moments
from datagen.labels.instrument.rows import PAIR, PLANTED, Codes, Flags, Numbers, Rows, patterns
from datagen.labels.instrument.together import together

LARGEST = 6_000  # scores that a link is fitted to; of more pairs neighbours are put together
SOME = 1_500  # scores that say in which valley it lies
CLOSE = 1e-7  # of the loss: nearer to the best link there is nothing to see
GAIN = 10.0  # log-likelihood by which a clip must beat none: it blurs how sure judges are
FEW = 1.2  # log of the factor by which the noise of one pair may be off
PRIOR_PAIRS = 4.0  # judges of unknown worth are believed as if so many pairs had said nothing
SHAPE = 0.3  # what the distribution of the scores counts beside what it says of the designs: tails are never quite so
AGREEING = 0.1  # standard deviation of log(1 − 2e) by the judges' agreement with each other
FREE = 3.0  # degrees of freedom of that: where designs contradict what judges agree in, they are believed
POOR = 0.3  # an error of the design that is tried as well
BELOW = (
    0.065  # what the fit from below leaves out of votes' agreement, as a logarithm: the mean of 120 simulated juries
)
STEPS = 6  # different answers up to which a judge is taken to vote
VOTED, VOTED_SURE = -1.6, 0.3  # log spread of clarity where judges vote, and its standard deviation
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


@dataclasses.dataclass(frozen=True)
class Fit:
    """Scores (N,), what they are expected to be along the design, and how both become log-odds."""

    clip: float
    score: Numbers
    expected: Numbers
    worth: Worth
    link: Link
    at: Numbers
    loss: float
    information: Numbers
    moments: Moments


def learn(x: Numbers, rows: Rows, weights: Numbers) -> Moments:
    """Moments of standardised margins over rows with these weights: S of the pairs, c of designs and planted pairs."""
    pairs = weights * rows.of(PAIR)
    second, number = moments.second(x, pairs)
    second, pulled_second = moments.shrunk_second(second, number)
    signal, own = moments.along(x, rows.design, pairs)
    planted, planted_own = moments.along(x, rows.design, weights * rows.of(PLANTED))
    signal, own = _joined(second, signal, own, planted, planted_own)
    signal, pulled = moments.shrunk_signal(signal, second, own, unaided.common(second))
    return Moments(second, signal, pulled, pulled_second)


def _joined(
    second: Numbers, signal: Numbers, own: Numbers, planted: Numbers, planted_own: Numbers
) -> tuple[Numbers, Numbers]:
    """The signal of designed pairs and that of planted ones, which is another multiple of it, by their precision."""
    if not planted_own.any():
        return signal, own
    if not own.any():
        return planted, planted_own
    inverse = np.linalg.inv(second)
    size = float(planted @ inverse @ planted)
    factor = max(float(signal @ inverse @ planted) / max(size, TINY), 0.1)
    here, there = np.diag(own), np.diag(planted_own) / factor**2
    share = here / np.maximum(here + there, TINY)
    return share * signal + (1 - share) * factor * planted, own + planted_own / factor**2


def crossed(x: Numbers, rows: Rows, found: list[tuple[Flags, Codes]]) -> tuple[Numbers, Numbers]:
    """Score and expectation of each row by moments of the other folds."""
    score, expected = np.zeros(len(rows)), np.zeros(len(rows))
    folds = np.unique(rows.fold)
    for fold in folds:
        mine = rows.fold == fold
        there = [(judges, at[mine[at]]) for judges, at in found]
        others = (~mine if len(folds) > 1 else mine).astype(float)
        own, own_expected = moments.scores(np.nan_to_num(x), learn(x, rows, others), there)
        score[mine], expected[mine] = own[mine], own_expected[mine]
    return score, expected


def worth(score: Numbers, expected: Numbers, rows: Rows, learnt: Moments, votes: Flags) -> Worth:
    """What scores are worth, on the pairs that they were not made from."""
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


def odds(score: Numbers, expected: Numbers, worth: Worth, link: Link) -> Numbers:
    """Log-odds of the truth of scores whose mean along the design and whose square are so many times `expected`."""
    signal, variance = scaled(expected, worth, link)
    return links.odds(score / signal, variance, link)


def scaled(expected: Numbers, worth: Worth, link: Link) -> tuple[Numbers, Numbers]:
    """Each score's signal, and the variance of its noise in units of the squared signal; inf where nobody spoke."""
    there = expected > TINY
    signal = worth.along / (1 - 2 * link.error) * np.where(there, expected, 1.0)
    variance = worth.square * expected / signal**2 - np.exp(link.spread**2)
    return signal, np.where(there, np.maximum(variance, links.LEAST) * worth.noise(link.error), np.inf)


def likelihood(at: Numbers, of: Scores, worth: Worth, shape: float = 0.0) -> Numbers:
    """log P(design and known label | score) of each score, and so much of log p(score).

    The density says how far apart the two truths lie in the scores, which designs alone hardly tell.
    """
    link = Link.of(at)
    signal, variance = scaled(of.expected, worth, link)
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


def fit(
    x: Numbers, rows: Rows, found: list[tuple[Flags, Codes]], votes: Flags, clip: float, start: Numbers, near: bool
) -> Fit:
    """The link of largest posterior for margins clipped at `clip`, or the best one `near` the start."""
    x = moments.clipped(x, clip)
    score, expected = crossed(x, rows, found)
    taught = np.flatnonzero(rows.of(PAIR) & (expected > TINY) & ((rows.design != 0) | ~np.isnan(rows.known)))
    learnt = learn(x, rows, np.ones(len(rows)))
    found_worth = worth(score, expected, rows, learnt, votes)
    voted = float(found_worth.votes[0].sum()) > 0.5
    centre, doubt = expected_link(len(taught), voted)
    seen, surely = obeyed(learnt, voted)
    # Votes have no density, and designs that go with them say too little to contradict anything.
    shape, free = (0.0, 1e9) if voted else (SHAPE, FREE)

    of_taught = (score[taught], expected[taught], rows.design[taught], rows.known[taught])
    every = condensed(*of_taught, LARGEST)

    def loss(at: Numbers, of: Scores, shape: float) -> float:
        apart = (np.log1p(-special.expit(at[0])) - seen) / surely
        prior = float((((at - centre) / doubt) ** 2).sum()) / 2 + (free + 1) / 2 * float(np.log1p(apart**2 / free))
        return prior - float(of.counts @ likelihood(at, of, found_worth, shape))

    def least(begin: Numbers, of: Scores) -> Any:
        limits = [(-7, 4), (-3, 0.7), (-5, 3), (-1.5, 1.5)]
        options = {"ftol": CLOSE, "workers": together}
        return optimize.minimize(loss, begin, args=(of, shape), method="L-BFGS-B", bounds=limits, options=options)

    # Weak judges of a good design and sure judges of a bad one are valleys: begin in each, with some of the pairs.
    agreed = np.array([special.logit(1 - np.exp(seen)), *centre[1:]])
    poor = np.array([special.logit(2 * POOR), *centre[1:]])
    begin = start
    if not near:
        some = condensed(*of_taught, SOME)
        begin = min((least(at, some) for at in (start, agreed, poor)), key=lambda one: float(one.fun)).x
    at = np.asarray(least(begin, every).x)
    information = links.information(lambda there: likelihood(there, every, found_worth, shape), at, every.counts)
    information += np.diag(1 / doubt**2)
    apart = (np.log1p(-special.expit(at[0])) - seen) / surely
    information[0, 0] += (float(special.expit(at[0])) / surely) ** 2 * (free + 1) / (free + float(apart**2))
    told = loss(at, every, 0.0)
    return Fit(clip, score, expected, found_worth, Link.of(at), at, told, information, learnt)


def refit(x: Numbers, rows: Rows, before: Fit) -> Fit:
    """The link of margins that are nearly the same, with the same clip."""
    return fit(x, rows, patterns(np.isnan(x)), _votes(rows), before.clip, before.at, near=True)


def _votes(rows: Rows) -> Flags:
    """The judges (J,) that only vote."""
    return np.array([len(np.unique(column[~np.isnan(column)])) <= STEPS for column in rows.margins.T])


def best(x: Numbers, rows: Rows) -> tuple[Fit, Fit]:
    """The fits with the two clips that the design asks for most."""
    found, votes = patterns(np.isnan(x)), _votes(rows)
    fits: list[Fit] = []
    for clip in moments.CLIPS:
        fits.append(fit(x, rows, found, votes, clip, fits[-1].at if fits else links.EXPECTED, near=False))
        if len(fits) > 1 and fits[-1].loss > fits[-2].loss:
            break
    fits.sort(key=lambda one: one.loss + (0.0 if np.isinf(one.clip) else GAIN))
    return fits[0], fits[1]

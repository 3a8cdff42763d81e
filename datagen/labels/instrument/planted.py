"""Pairs without a design: planted ones give the weights, nulls the noise, and the pairs themselves their strength.

Scores of pairs are ± signal · clarity + noise; how strong the signal is, is read off their distribution, given the
noise that nulls show and how often scores of planted pairs are right. Everything is fitted at once.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import optimize, special

from datagen.labels.instrument import link as links
from datagen.labels.instrument import moments, unaided
from datagen.labels.instrument.link import Link
from datagen.labels.instrument.moments import Moments
from datagen.labels.instrument.rows import NULL, PAIR, PLANTED, Flags, Numbers, Rows, patterns
from datagen.labels.instrument.worth import TINY

LARGEST = 6_000  # pairs that the strength is fitted to
NOISE_DOUBT = 0.15  # log of the factor by which nulls may be noisier than pairs
UNKNOWN_NOISE = 1.0  # the same without nulls
STRENGTH_DOUBT = 0.8  # log of the factor by which pairs may be less clear than planted ones
STEPS = 8  # different sizes of margins up to which judges are taken to vote
ERROR = 0.005  # of planted pairs
NOISIER = 0.3  # log of the factor by which pairs may be noisier than nulls: unrelated images are the noisier ones
UNEQUAL = 0.0  # log spread of clarity that is tried as well


@dataclasses.dataclass(frozen=True)
class Probes:
    """Scores of pairs, planted pairs (along their design) and their expectations; noise in units of expectation."""

    score: Numbers
    expected: Numbers
    right: Numbers
    right_expected: Numbers
    planted_strength: float
    noise: float
    noise_doubt: float
    votes: bool
    truth: Numbers


def fitted(x: Numbers, rows: Rows, weights: Numbers) -> Moments:
    """S of the pairs, c of the planted pairs."""
    second, number = moments.second(x, weights * rows.of(PAIR))
    second, pulled_second = moments.shrunk_second(second, number)
    signal, own = moments.along(x, rows.design, weights * rows.of(PLANTED))
    signal, pulled = moments.shrunk_signal(signal, second, own, unaided.common(second))
    return Moments(second, signal, pulled, pulled_second)


def probes(score: Numbers, expected: Numbers, rows: Rows, votes: bool) -> Probes:
    """What strength and noise are fitted to."""
    spoke = expected > TINY
    pairs, planted, nulls = (rows.of(role) & spoke for role in (PAIR, PLANTED, NULL))
    right = (score * rows.design)[planted]
    strength = float(right.sum() / max(expected[planted].sum(), TINY))
    square = float((score[pairs] ** 2).sum() / max(expected[pairs].sum(), TINY))
    if nulls.sum() >= 2:
        noise = float((score[nulls] ** 2).sum() / max(expected[nulls].sum(), TINY))
        doubt = float(np.hypot(NOISE_DOUBT, np.sqrt(3 / nulls.sum())))
    else:
        noise, doubt = square / 2, UNKNOWN_NOISE
    some = np.flatnonzero(pairs)
    some = some[:: max(1, -(-len(some) // LARGEST))]
    return Probes(
        score[some], expected[some], right, expected[planted], max(strength, 1e-3), max(noise, TINY), doubt, votes,
        2 * rows.known[some] - 1,
    )  # fmt: skip


def likelihood(at: Numbers, of: Probes) -> Numbers:
    """log P of pairs, known labels and planted designs, one after the other."""
    strength, link = np.exp(at[0]), Link.of(np.array([-9.0, *at[1:]]))
    noise, plain = of.noise * link.noise, dataclasses.replace(link, noise=1.0)
    signal = strength * of.expected
    one, other = links.sides(of.score / signal, noise * of.expected / signal**2, link.spread, link.tail)
    known = links.agreement(one - other, np.nan_to_num(of.truth), 0.0)
    if of.votes:
        explained = strength**2 * np.exp(link.spread**2) * of.expected**2 + noise * of.expected
        rest = of.score**2 - explained
        pairs = np.full(len(rest), -0.5 * rest.sum() ** 2 / max((rest**2).sum(), TINY) / max(len(rest), 1))
    else:
        free = 1 / max(link.tail, 1e-3)
        height = special.gammaln((free + 1) / 2) - special.gammaln(free / 2) - 0.5 * np.log((free - 2) * noise)
        pairs = np.logaddexp(one, other) + height
    signal = of.planted_strength * of.right_expected
    odds = links.odds(of.right / signal, noise * of.right_expected / signal**2, plain)
    return np.concatenate([pairs + known, links.agreement(odds, np.ones(len(odds)), ERROR)])


def odds(score: Numbers, expected: Numbers, noise: float, at: Numbers) -> Numbers:
    """Log-odds of the truth of pairs' scores (N,)."""
    there = expected > TINY
    link = Link.of(np.array([-9.0, *at[1:]]))
    signal = np.exp(at[0]) * np.where(there, expected, 1.0)
    return links.odds(score / signal, np.where(there, noise * expected / signal**2, np.inf), link)


@dataclasses.dataclass(frozen=True)
class Fit:
    """How scores become log-odds without a design: (log strength, log spread, tail, log noise) and their doubt."""

    score: Numbers
    expected: Numbers
    noise: float
    at: Numbers
    information: Numbers
    moments: Moments

    @property
    def log_odds(self) -> Numbers:
        """(N,)."""
        return odds(self.score, self.expected, self.noise, self.at)


def fit(x: Numbers, rows: Rows, absent: Flags) -> Fit:
    """The strength of largest posterior."""
    learnt = fitted(x, rows, np.ones(len(rows)))
    score, expected = moments.scores(np.nan_to_num(x), learnt, patterns(absent))
    sizes = [len(np.unique(np.abs(column[~np.isnan(column)]))) for column in x.T]
    of = probes(score, expected, rows, max(sizes) <= STEPS)
    centre = np.array([np.log(of.planted_strength) - 0.5, *links.EXPECTED[1:]])
    doubt = np.array([STRENGTH_DOUBT, *links.SURE[1:3], of.noise_doubt])

    def loss(at: Numbers) -> float:
        return float((((at - centre) / doubt) ** 2).sum()) / 2 - float(likelihood(at, of).sum())

    most = NOISIER if of.noise_doubt < UNKNOWN_NOISE else 2.0
    limits = [(centre[0] - 3, centre[0] + 2), (-3, 0.7), (-5, 3), (-2, most)]
    # Equal pairs with much noise and unequal ones with little look alike: begin in both valleys.
    unequal = centre + np.array([0.0, UNEQUAL - centre[1], 0.0, 0.0])
    valleys = [optimize.minimize(loss, begin, method="L-BFGS-B", bounds=limits) for begin in (centre, unequal)]
    at = np.asarray(min(valleys, key=lambda one: float(one.fun)).x)
    information = links.information(lambda there: likelihood(there, of), at) + np.diag(1 / doubt**2)
    return Fit(score, expected, of.noise, at, information, learnt)

"""The judges weighed by what the images were meant to show: scores across folds of prompts, then one link for all."""

from __future__ import annotations

import dataclasses

import numpy as np

from datagen.labels.instrument import link as links
from datagen.labels.instrument import moments, unaided
from datagen.labels.instrument.condense import condensed
from datagen.labels.instrument.link import Link
from datagen.labels.instrument.moments import Moments
from datagen.labels.instrument.posterior import Posterior
from datagen.labels.instrument.rows import PAIR, PLANTED, Codes, Flags, Numbers, Rows, patterns
from datagen.labels.instrument.worth import TINY, Worth

SOME = 1_500  # scores that say in which valley a link lies
GAIN = 10.0  # log-likelihood by which a clip must beat none: it blurs how sure judges are
STEPS = 6  # different answers up to which a judge is taken to vote


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


def fit(
    x: Numbers, rows: Rows, found: list[tuple[Flags, Codes]], votes: Flags, clip: float, start: Numbers, near: bool
) -> Fit:
    """The link of largest posterior for margins clipped at `clip`, or the best one `near` the start."""
    x = moments.clipped(x, clip)
    score, expected = crossed(x, rows, found)
    learnt = learn(x, rows, np.ones(len(rows)))
    worth = Worth.of(score, expected, rows, learnt, votes)
    taught = np.flatnonzero(rows.of(PAIR) & (expected > TINY) & ((rows.design != 0) | ~np.isnan(rows.known)))
    of_taught = (score[taught], expected[taught], rows.design[taught], rows.known[taught])
    posterior = Posterior.of(*of_taught, worth, learnt)
    at = posterior.best(start if near else posterior.valley(start, condensed(*of_taught, SOME)))
    told = posterior.loss(at, posterior.every, 0.0)
    return Fit(clip, score, expected, worth, Link.of(at), at, told, posterior.information(at), learnt)


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

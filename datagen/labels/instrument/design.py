"""The judges weighed by what the images were meant to show: scores across folds of prompts, then one link for all."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import optimize

from datagen.labels.instrument import link as links
from datagen.labels.instrument import moments
from datagen.labels.instrument.link import Link
from datagen.labels.instrument.moments import Moments
from datagen.labels.instrument.rows import PAIR, PLANTED, Codes, Flags, Numbers, Rows, patterns

LARGEST = 12_000  # pairs that a link is fitted to; its four numbers need no more
GAIN = 2.0  # log-likelihood by which a clip must beat none
PRIOR_PAIRS = 6.0  # judges of unknown worth are believed as if so many pairs had said nothing
TINY = 1e-9


@dataclasses.dataclass(frozen=True)
class Fit:
    """Scores (N,), what they are expected to be along the design, and how both become log-odds."""

    clip: float
    score: Numbers
    expected: Numbers
    ratio: tuple[float, float]
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
    signal, pulled = moments.shrunk_signal(signal, second, own)
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


def ratios(score: Numbers, expected: Numbers, rows: Rows) -> tuple[float, float]:
    """What a score really is along the design, and its square, in units of what was expected."""
    designed = rows.of(PAIR) & (rows.design != 0) & (expected > 0)
    pairs = rows.of(PAIR) & (expected > 0)
    total, of_all = float(expected[designed].sum()), float(expected[pairs].sum())
    if total <= 0 or of_all <= 0:
        return 0.0, 1.0
    along = float((score * rows.design)[designed].sum()) / total
    square = float((score**2)[pairs].sum()) / of_all
    count = designed.sum()
    # Few pairs overstate what they explain: as if PRIOR_PAIRS more had explained nothing.
    doubt = 1 + PRIOR_PAIRS / count
    return max(along, 1e-3), square * doubt


def odds(score: Numbers, expected: Numbers, ratio: tuple[float, float], link: Link) -> Numbers:
    """Log-odds of the truth of scores whose mean along the design and whose square are ratio · expected."""
    there = expected > TINY
    signal = ratio[0] / (1 - 2 * link.error) * np.where(there, expected, 1.0)
    variance = np.where(there, ratio[1] * expected / signal**2 - np.exp(link.spread**2), np.inf)
    return links.odds(score / signal, variance, link)


def likelihood(at: Numbers, score: Numbers, expected: Numbers, ratio: tuple[float, float], rows: Rows) -> Numbers:
    """log P(design and known label | score) of each row."""
    link = Link.of(at)
    log_odds = odds(score, expected, ratio, link)
    told = ~np.isnan(rows.known)
    result = links.agreement(log_odds, rows.design, link.error)
    if told.any():
        truth = 2 * rows.known[told] - 1
        obeyed = np.log(np.where(rows.design[told] == truth, 1 - link.error, link.error))
        result[told] = links.agreement(log_odds[told], truth, 0.0) + np.where(rows.design[told] != 0, obeyed, 0.0)
    return result


def sure(count: int) -> Numbers:
    """Standard deviations of a link's free coordinates before anything is seen: few pairs say little of the noise."""
    return np.array([*links.SURE[:3], float(np.hypot(links.SURE[3], 2 / np.sqrt(max(count, 1))))])


def fit(x: Numbers, rows: Rows, found: list[tuple[Flags, Codes]], clip: float, start: Numbers) -> Fit:
    """The link of largest posterior for margins clipped at `clip`."""
    x = moments.clipped(x, clip)
    score, expected = crossed(x, rows, found)
    ratio = ratios(score, expected, rows)
    taught = np.flatnonzero(rows.of(PAIR) & (expected > TINY) & ((rows.design != 0) | ~np.isnan(rows.known)))
    doubt = sure(len(taught))
    some = taught[:: max(1, -(-len(taught) // LARGEST))]
    size, chosen = len(taught) / max(len(some), 1), take(rows, some)

    def of(at: Numbers) -> Numbers:
        return likelihood(at, score[some], expected[some], ratio, chosen)

    def loss(at: Numbers) -> float:
        return float((((at - links.EXPECTED) / doubt) ** 2).sum()) / 2 - size * float(of(at).sum())

    best = optimize.minimize(loss, start, method="L-BFGS-B", bounds=[(-7, 4), (-3, 0.7), (-5, 3), (-1.5, 1.5)])
    at = np.asarray(best.x)
    information = size * links.information(of, at) + np.diag(1 / doubt**2)
    learnt = learn(x, rows, np.ones(len(rows)))
    return Fit(clip, score, expected, ratio, Link.of(at), at, float(best.fun), information, learnt)


def take(rows: Rows, at: Codes) -> Rows:
    """Some of the rows."""
    changed = {
        name: getattr(rows, name)[at]
        for name in ("margins", "design", "role", "known", "prompt", "stratum", "fold", "learn")
    }
    return dataclasses.replace(rows, **changed)


def best(x: Numbers, rows: Rows) -> Fit:
    """The fit with the clip that the design asks for."""
    found = patterns(np.isnan(x))
    fits: list[Fit] = []
    for clip in moments.CLIPS:
        fits.append(fit(x, rows, found, clip, fits[-1].at if fits else links.EXPECTED))
        if len(fits) > 1 and fits[-1].loss > fits[-2].loss:
            break
    chosen = min(fits, key=lambda one: one.loss + (0.0 if np.isinf(one.clip) else GAIN))
    return chosen

"""What judges and design say of each pair, and how surely: by the design, by planted pairs, or unaided."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import special

from datagen.labels.instrument import design, moments, planted, strata, unaided
from datagen.labels.instrument import link as links
from datagen.labels.instrument.found import Estimate
from datagen.labels.instrument.leak import Leak
from datagen.labels.instrument.link import EXPECTED, LEAST, SURE, Link
from datagen.labels.instrument.moments import Moments
from datagen.labels.instrument.obedience import Obedience, obedience
from datagen.labels.instrument.rows import PAIR, PLANTED, Numbers, Rows, patterns, weights_of

DRAWS = 60
MUCH = 20_000  # pairs from which on a third of the draws is enough
LEAKS = 0.03  # of a judge's noise: what is believed possible where there are no controls
UNAIDED = 0.35  # log of the factor by which log-odds may be off where nothing tells
PLANTED_ERROR = 0.005  # of planted pairs


@dataclasses.dataclass(frozen=True)
class Evidence:
    """(N,) log-odds of A by the judges and by the design, and the standard deviation of their sum.

    `mode` is design, planted, unaided or nothing. What `moments` expect of a score, times `strength`, is the signal,
    and times `square` the mean of its square. `gains` are what the judges are worth in each stratum, 1 being usual.
    """

    mode: str
    log_odds: Numbers
    by_design: Numbers
    width: Numbers
    obedience: dict[str, Estimate]
    moments: Moments | None
    strength: float
    square: float
    link: Link
    clip: float
    gains: Numbers = dataclasses.field(default_factory=lambda: np.ones(0))

    def slope(self, expected: float) -> float:
        """Log-odds per unit of a small score of which so much is expected."""
        signal = self.strength * expected
        if signal <= 0:
            return 0.0
        variance = (
            max(self.square * expected / signal**2 - float(np.exp(self.link.spread**2)), LEAST) * self.link.noise
        )
        step = np.array([0.05])
        return float(
            links.odds(step, np.array([variance]), dataclasses.replace(self.link, noise=1.0))[0] / 0.05 / signal
        )


def weigh(x: Numbers, rows: Rows, seen: Leak | None, unit: Numbers, seed: int) -> Evidence:
    """The evidence of standardised margins by the best means that there are."""
    zero = np.zeros(len(rows))
    random = np.random.default_rng([seed, 1])
    prior = Link.of(EXPECTED)
    designed = rows.of(PAIR) & (rows.design != 0)
    if np.isnan(x).all() or not (rows.of(PAIR) | rows.of(PLANTED)).any():
        obeyed = obedience(zero, rows, prior.error, SURE[0])
        held = obeyed.log_odds(rows)
        spread = np.where(rows.design != 0, SURE[0], 0.0)
        return Evidence("nothing", zero, held, spread, obeyed.estimates(rows), None, 0.0, 1.0, prior, np.inf)
    if designed.any():
        return _by_design(x, rows, seen, unit, random)
    if rows.of(PLANTED).any() and rows.of(PAIR).any():
        return _by_planted(x, rows, random)
    return _unaided(x, rows, random)


def _by_design(x: Numbers, rows: Rows, seen: Leak | None, unit: Numbers, random: np.random.Generator) -> Evidence:
    fit, gain, apart = _fitted(x, rows)
    usual = design.odds(fit.score, fit.expected, fit.ratio, fit.link)
    log_odds = usual * gain[rows.stratum]
    inverse = np.linalg.inv(fit.information)
    # From the free coordinate of the error to its logit.
    deviation = float(np.sqrt(inverse[0, 0])) * (1 - 2 * fit.link.error) / (1 - fit.link.error)
    obeyed = obedience(log_odds, rows, fit.link.error, deviation)
    held = _held(rows, obeyed)
    worth = gain[rows.stratum]
    width = _width(x, rows, fit, obeyed, seen, unit, random) * worth
    width = np.hypot(width, (1 - np.minimum(worth, 1)) * obeyed.deviation[rows.stratum])
    width = np.hypot(width, apart[rows.stratum] * usual)
    strength = fit.ratio[0] / (1 - 2 * fit.link.error)
    return Evidence(
        "design",
        log_odds,
        held,
        width,
        obeyed.estimates(rows),
        fit.moments,
        strength,
        fit.ratio[1],
        fit.link,
        fit.clip,
        gain,
    )


def _fitted(x: Numbers, rows: Rows) -> tuple[design.Fit, Numbers, Numbers]:
    """What the strata in which the judges can read say of them, and the gain of each stratum with its deviation."""
    fit = design.best(x, rows)
    gain, apart = strata.gains(design.odds(fit.score, fit.expected, fit.ratio, fit.link), rows, fit.link.error)
    weak = (gain < strata.WEAK)[rows.stratum] & rows.of(PAIR)
    if weak.any() and weak.sum() < rows.of(PAIR).sum() / 2:
        fit = design.best(x, dataclasses.replace(rows, learn=rows.learn & ~weak))
        gain, apart = strata.gains(design.odds(fit.score, fit.expected, fit.ratio, fit.link), rows, fit.link.error)
    return fit, gain, apart


def _held(rows: Rows, obeyed: Obedience) -> Numbers:
    """What design and planting add to the log-odds (N,)."""
    sure = -float(special.logit(PLANTED_ERROR))
    result: Numbers = np.where(rows.role == PLANTED, rows.design * sure, obeyed.log_odds(rows))
    return result


def _width(
    x: Numbers,
    rows: Rows,
    fit: design.Fit,
    obeyed: Obedience,
    seen: Leak | None,
    unit: Numbers,
    random: np.random.Generator,
) -> Numbers:
    """Standard deviation of the log-odds (N,) over prompts drawn anew, the link's doubt and that of the leaks."""
    found = patterns(np.isnan(x))
    clear = moments.clipped(x, fit.clip)
    score, expected = moments.scores(np.nan_to_num(clear), fit.moments, found)
    base, usual = design.odds(score, expected, fit.ratio, fit.link), max(float(expected.sum()), 1e-9)
    root = np.linalg.cholesky(np.linalg.inv(fit.information))
    leaks = _leak_root(seen, unit)
    common = float(special.logit(fit.link.error))
    own = np.sqrt(np.maximum(obeyed.deviation**2 - obeyed.deviation.min() ** 2, 0))
    draws = DRAWS if len(rows) < MUCH else DRAWS // 3
    total, squares = np.zeros(len(rows)), np.zeros(len(rows))
    for _ in range(draws):
        shifted = x - np.where(rows.role == PAIR, rows.design, 0)[:, None] * (
            leaks @ random.standard_normal(x.shape[1])
        )
        clear = moments.clipped(shifted, fit.clip)
        drawn = design.learn(clear, rows, weights_of(rows.prompt, random))
        link = Link.of(fit.at + root @ random.standard_normal(len(fit.at)))
        score, expected = moments.scores(np.nan_to_num(clear), drawn, found)
        # The link was fitted to what the scores are worth: drawn moments change which judges count, not that.
        ratio = (fit.ratio[0], fit.ratio[1] * float(expected.sum()) / usual)
        moved = design.odds(score, expected, ratio, link) - base
        by_stratum = float(special.logit(link.error)) - common + own * random.standard_normal(len(own))
        moved -= np.where(rows.role == PAIR, rows.design, 0) * by_stratum[rows.stratum]
        total += moved
        squares += moved**2
    result: Numbers = np.sqrt(np.maximum(squares / draws - (total / draws) ** 2, 0))
    return result


def _leak_root(seen: Leak | None, unit: Numbers) -> Numbers:
    """(J, J): what leaks may be off by, in units of the margins, as a matrix for independent normals."""
    if seen is None:
        return np.eye(len(unit)) * LEAKS
    return np.linalg.cholesky(
        np.where(np.eye(len(unit)) > 0, np.minimum(seen.covariance, 1e6), seen.covariance) / np.outer(unit, unit)
    )


def _by_planted(x: Numbers, rows: Rows, random: np.random.Generator) -> Evidence:
    absent = np.isnan(x)
    fit = planted.fit(x, rows, absent)
    base = fit.log_odds
    root = np.linalg.cholesky(np.linalg.inv(fit.information))
    found = patterns(absent)
    draws = DRAWS if len(rows) < MUCH else DRAWS // 3
    total, squares = np.zeros(len(rows)), np.zeros(len(rows))
    for _ in range(draws):
        drawn = planted.fitted(x, rows, weights_of(rows.prompt, random))
        at = fit.at + root @ random.standard_normal(len(fit.at))
        moved = planted.odds(*moments.scores(np.nan_to_num(x), drawn, found), fit.noise, at) - base
        total, squares = total + moved, squares + moved**2
    width = np.sqrt(np.maximum(squares / draws - (total / draws) ** 2, 0))
    held = np.where(rows.role == PLANTED, -rows.design * float(special.logit(PLANTED_ERROR)), 0.0)
    link = Link.of(np.array([-9.0, *fit.at[1:]]))
    strength, mean = float(np.exp(fit.at[0])), float(fit.expected[rows.of(PAIR)].mean())
    square = strength**2 * mean * float(np.exp(link.spread**2)) + fit.noise
    return Evidence("planted", base, held, width, {}, fit.moments, strength, square, link, np.inf)


def _unaided(x: Numbers, rows: Rows, random: np.random.Generator) -> Evidence:
    """What the judges have in common; the interval is as wide as that deserves."""
    clip = 3.0
    clear = moments.clipped(x, clip)
    found = patterns(np.isnan(x))
    link = Link.of(EXPECTED)
    link = dataclasses.replace(link, error=0.0)
    pairs = rows.of(PAIR).astype(float) if rows.of(PAIR).any() else rows.learn.astype(float)

    def odds(weights: Numbers) -> tuple[Numbers, Moments]:
        agreed = unaided.common(moments.shrunk_second(*moments.second(clear, weights))[0])
        return design.odds(*moments.scores(np.nan_to_num(clear), agreed, found), (1.0, 1.0), link), agreed

    log_odds, agreed = odds(pairs)
    total, squares = np.zeros(len(rows)), np.zeros(len(rows))
    for _ in range(DRAWS // 3):
        moved = odds(pairs * weights_of(rows.prompt, random))[0] - log_odds
        total, squares = total + moved, squares + moved**2
    draws = DRAWS // 3
    width = np.sqrt(np.maximum(squares / draws - (total / draws) ** 2, 0) + (UNAIDED * log_odds) ** 2)
    obeyed = obedience(log_odds, rows, link.error or 0.1, SURE[0])
    held = np.where(rows.role == PLANTED, _held(rows, obeyed), 0.0)
    return Evidence("unaided", log_odds, held, width, {}, agreed, 1.0, 1.0, link, clip)

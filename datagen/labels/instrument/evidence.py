"""What judges and design say of each pair, and how surely: by the design, by planted pairs, or unaided."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import special

from datagen.labels.instrument import design, moments, planted, strata, unaided
from datagen.labels.instrument import link as links
from datagen.labels.instrument.found import Estimate
from datagen.labels.instrument.leak import Leak
from datagen.labels.instrument.link import EXPECTED, SURE, Link
from datagen.labels.instrument.obedience import Obedience, obedience
from datagen.labels.instrument.rows import PAIR, PLANTED, Flags, Numbers, Rows, patterns, weights_of
from datagen.labels.instrument.together import together
from datagen.labels.instrument.worth import Worth

DRAWS = 40
MUCH = 20_000  # pairs from which on a third of the draws is enough
LEAKS = 0.03  # of a judge's usual margin: what is believed possible where there are no controls
LEAK = 0.025  # the same of all judges together; a tenth of the signal was found on real draws, of a few judges
TAUGHT = 100  # labels of people from which on they say what judges are worth where nothing was meant
WIDER = 1.5  # of what is unsure where nothing is meant, in intervals: nothing in a run tests how strong evidence is
# By so much are the intervals of simulated juries (seeds 2000 to 2007) wider than what is unsure of link and weights:
USUAL, OF_FEW = 0.75, 3.5  # where a design is, of many pairs, and how much more by the root of their number
OF_LEAK, OF_VOTES = 1.6, 0.8  # where a leak is taken out, and of votes
OF_PEOPLE, OF_PLANTED = 2.0, 5.0  # by labels of people, and by planted pairs
UNAIDED, FEW = 0.6, 4.0  # log of the factor by which log-odds may be off where nothing tells: of many pairs, of one
PLANTED_ERROR = 0.005  # of planted pairs


@dataclasses.dataclass(frozen=True)
class Evidence:
    """(N,) log-odds of A by the judges and by the design, and standard deviations.

    `width` is of their sum, for intervals. `doubt` and `alone` are of the sum and of the judges as far as it is the
    link that is not sure: by so much a probability is nearer to even odds. That weights are not sure either is in the
    link, since it was fitted to scores by weights from elsewhere.

    `mode` is design, people, planted, unaided or nothing; `weights` (J,) are log-odds per unit of a small margin when
    all judges speak, and `pulled` is the share by which they were drawn to equal ones. `gains` are what the judges are
    worth in each stratum, 1 being usual. `error` is the share in which the design was not obeyed.
    """

    mode: str
    log_odds: Numbers
    by_design: Numbers
    width: Numbers
    doubt: Numbers
    alone: Numbers
    obedience: dict[str, Estimate]
    weights: Numbers
    pulled: float
    gains: Numbers = dataclasses.field(default_factory=lambda: np.ones(0))
    error: float = 0.0


class Spread:
    """Standard deviation (N,) of what is added, draw by draw."""

    def __init__(self, rows: int) -> None:
        self.count, self.total, self.squares = 0, np.zeros(rows), np.zeros(rows)

    def add(self, moved: Numbers) -> None:
        """One draw."""
        self.count += 1
        self.total += moved
        self.squares += moved**2

    @property
    def deviation(self) -> Numbers:
        """Around the mean of the draws."""
        mean = self.total / self.count
        result: Numbers = np.sqrt(np.maximum(self.squares / self.count - mean**2, 0))
        return result


def weigh(x: Numbers, rows: Rows, seen: Leak | None, unit: Numbers, seed: int) -> Evidence:
    """The evidence of standardised margins by the best means that there are."""
    random = np.random.default_rng([seed, 1])
    if np.isnan(x[rows.of(PAIR) | rows.of(PLANTED)]).all():
        zero, error = np.zeros(len(rows)), Link.of(EXPECTED).error
        obeyed = obedience(zero, rows, error, float(SURE[0]))
        width = np.where(rows.design != 0, SURE[0], 0.0)
        estimates = obeyed.estimates(rows)
        return Evidence("nothing", zero, _held(rows, obeyed), width, width, zero, estimates, np.zeros(x.shape[1]), 0.0)
    if (rows.of(PAIR) & (rows.design != 0)).any():
        return _by_design(x, rows, seen, unit, random)
    told = rows.of(PAIR) & ~np.isnan(rows.known)
    if told.sum() >= TAUGHT and not rows.of(PLANTED).any():
        return _by_people(x, rows, told, seen, unit, random)
    asked = ~np.isnan(x[rows.of(PLANTED)]).all(0)
    if asked.any() and rows.of(PAIR).any():
        # What a judge has in common with others is no sign that it reads the text: S⁻¹ would make much of a guess.
        return _by_planted(np.where(asked, x, np.nan), rows, random)
    return _unaided(x, rows, random)


def _held(rows: Rows, obeyed: Obedience) -> Numbers:
    """What design and planting add to the log-odds (N,)."""
    result: Numbers = np.where(rows.role == PLANTED, _planted(rows), obeyed.log_odds(rows))
    return result


def _planted(rows: Rows) -> Numbers:
    """What planting adds to the log-odds (N,)."""
    result: Numbers = np.where(rows.role == PLANTED, -rows.design * float(special.logit(PLANTED_ERROR)), 0.0)
    return result


def _draws(rows: Rows) -> int:
    return DRAWS if len(rows) < MUCH else DRAWS // 3


def _by_design(x: Numbers, rows: Rows, seen: Leak | None, unit: Numbers, random: np.random.Generator) -> Evidence:
    fit, other, gain, apart = _fitted(x, rows)
    worth = gain[rows.stratum]
    usual, second = (of.worth.odds(of.score, of.expected, of.link) for of in (fit, other))
    log_odds = usual * worth
    error = fit.link.error
    # From the free coordinate of the error to its logit.
    deviation = float(np.sqrt(np.linalg.inv(fit.information)[0, 0])) * (1 - 2 * error) / (1 - error)
    obeyed = obedience(log_odds, rows, error, deviation)
    width, doubt, alone = _by_draws(x, rows, fit, obeyed, worth, _leak_root(seen, unit), random)
    # Another shape of the margins is possible, too: two models of which each is true with its own probability.
    likely = float(special.expit(fit.loss - other.loss))
    width = np.hypot(width, np.sqrt(likely * (1 - likely)) * (usual - second) * worth)
    unsure = np.hypot((1 - np.minimum(worth, 1)) * obeyed.deviation[rows.stratum], apart[rows.stratum] * usual)
    width = np.hypot(width, unsure)
    if seen is None:
        width = np.hypot(width, _unseen(x, rows, fit, worth))
    width = width * _stretched(rows, fit, seen)
    weight, expected = moments.rule(fit.moments, x)
    slope = fit.worth.odds(SMALL * expected, expected, fit.link) / (SMALL * np.maximum(expected, 1e-12))
    pulled = max(fit.moments.pulled, fit.moments.pulled_second)
    held, estimates = _held(rows, obeyed), obeyed.estimates(rows)
    return Evidence("design", log_odds, held, width, doubt, alone, estimates, weight * slope, pulled, gain, error)


def _stretched(rows: Rows, fit: design.Fit, seen: Leak | None) -> float:
    """What widths are times to hold what they say."""
    pairs = int((rows.of(PAIR) & (rows.design != 0)).sum())
    usual = OF_LEAK if seen is not None and seen.taken.any() else USUAL + OF_FEW / np.sqrt(pairs)
    return float(usual * (1 + OF_VOTES * fit.worth.votes[0].sum()))


def _by_people(
    x: Numbers, rows: Rows, told: Flags, seen: Leak | None, unit: Numbers, random: np.random.Generator
) -> Evidence:
    """What labels of people make of the judges: designs that are right. They say nothing of their own rows."""
    meant = np.where(told, 2 * np.nan_to_num(rows.known) - 1, 0.0)
    found = _by_design(x, dataclasses.replace(rows, design=meant), seen, unit, random)
    return dataclasses.replace(
        found, mode="people", width=OF_PEOPLE * found.width, by_design=np.zeros(len(rows)), obedience={}, error=0.0
    )


def _unseen(x: Numbers, rows: Rows, fit: design.Fit, gain: Numbers) -> Numbers:
    """By how much (N,) log-odds would be others if all judges saw the wording, as far as is usual without controls."""
    meant = np.where(rows.role == PAIR, rows.design, 0.0)
    other = design.refit(x - LEAK * meant[:, None], rows, fit)

    def total(of: design.Fit) -> Numbers:
        by_design: Numbers = meant * -float(special.logit(of.link.error))
        return gain * of.worth.odds(of.score, of.expected, of.link) + by_design

    return total(other) - total(fit)


def _fitted(x: Numbers, rows: Rows) -> tuple[design.Fit, design.Fit, Numbers, Numbers]:
    """The two best fits to strata in which the judges can read, and the gain of each stratum with its deviation."""
    fit, other = design.best(x, rows)
    gain, apart = strata.gains(fit.worth.odds(fit.score, fit.expected, fit.link), rows, fit.link.error)
    weak = (gain < strata.WEAK)[rows.stratum] & rows.of(PAIR)
    if weak.any() and weak.sum() < rows.of(PAIR).sum() / 2:
        fit, other = design.best(x, dataclasses.replace(rows, learn=rows.learn & ~weak))
        gain, apart = strata.gains(fit.worth.odds(fit.score, fit.expected, fit.link), rows, fit.link.error)
    return fit, other, gain, apart


SMALL = 0.05  # share of a usual score that still acts in proportion


def _by_draws(
    x: Numbers,
    rows: Rows,
    fit: design.Fit,
    obeyed: Obedience,
    gain: Numbers,
    leaks: Numbers,
    random: np.random.Generator,
) -> tuple[Numbers, Numbers, Numbers]:
    """`width`, `doubt` and `alone` (N,), over prompts drawn anew and over links and leaks that are possible."""
    found = patterns(np.isnan(x))
    meant = np.where(rows.role == PAIR, rows.design, 0.0)
    score, expected = moments.scores(np.nan_to_num(moments.clipped(x, fit.clip)), fit.moments, found)
    base, usual = fit.worth.odds(score, expected, fit.link), max(float(expected.sum()), 1e-9)
    count, draws = x.shape[1], Spread(len(rows))

    def moved(drawn: tuple[Numbers, Numbers]) -> Numbers:
        leak, weights = drawn
        clear = moments.clipped(x - meant[:, None] * leak, fit.clip)
        score, expected = moments.scores(np.nan_to_num(clear), design.learn(clear, rows, weights), found)
        # The link was fitted to what the scores are worth: drawn moments change which judges count, not that.
        worth = dataclasses.replace(fit.worth, square=fit.worth.square * float(expected.sum()) / usual)
        return worth.odds(score, expected, fit.link) - base

    drawn = [(leaks @ random.standard_normal(count), weights_of(rows.prompt, random)) for _ in range(_draws(rows))]
    for by in together(moved, drawn):
        draws.add(by)
    slopes = links.slopes(lambda at: gain * fit.worth.odds(fit.score, fit.expected, Link.of(at)), fit.at)
    by_error = (1 - fit.link.error * 2) / (1 - fit.link.error)  # from its free coordinate to its logit
    both = slopes - np.outer(meant, np.eye(slopes.shape[1])[0] * by_error)
    covariance = np.linalg.inv(fit.information)
    alone, all_links = (np.sqrt(np.einsum("ni,ij,nj->n", of, covariance, of)) for of in (slopes, both))
    own = np.sqrt(np.maximum(obeyed.deviation**2 - obeyed.deviation.min() ** 2, 0))
    doubt = np.hypot(all_links, np.abs(meant) * own[rows.stratum])
    return np.hypot(draws.deviation * gain, doubt), doubt, alone


def _leak_root(seen: Leak | None, unit: Numbers) -> Numbers:
    """(J, J): what leaks may be off by, in units of the margins, as a matrix for independent normals."""
    if seen is None:
        return np.eye(len(unit)) * LEAKS
    covariance = seen.covariance / np.outer(unit, unit)
    heard = np.diag(covariance) < 1e6
    return np.linalg.cholesky(np.where(np.outer(heard, heard), covariance, np.eye(len(unit)) * LEAKS**2))


def _by_planted(x: Numbers, rows: Rows, random: np.random.Generator) -> Evidence:
    absent = np.isnan(x)
    fit = planted.fit(x, rows, absent)
    found, usual = patterns(absent), max(float(fit.expected.sum()), 1e-9)
    spread = Spread(len(rows))
    for _ in range(_draws(rows)):
        drawn = planted.fitted(x, rows, weights_of(rows.prompt, random))
        score, expected = moments.scores(np.nan_to_num(x), drawn, found)
        size = np.sqrt(usual / max(float(expected.sum()), 1e-9))
        spread.add(planted.odds(score * size, expected * size, fit.noise, fit.at) - fit.log_odds)
    slopes = links.slopes(lambda at: planted.odds(fit.score, fit.expected, fit.noise, at), fit.at)
    alone = np.sqrt(np.einsum("ni,ij,nj->n", slopes, np.linalg.inv(fit.information), slopes))
    weight, expected = moments.rule(fit.moments, x)
    slope = planted.odds(SMALL * expected, expected, fit.noise, fit.at) / (SMALL * np.maximum(expected, 1e-12))
    pulled = max(fit.moments.pulled, fit.moments.pulled_second)
    return Evidence(
        "planted",
        fit.log_odds,
        _planted(rows),
        OF_PLANTED * np.hypot(spread.deviation, alone),
        alone,
        alone,
        {},
        weight * slope,
        pulled,
    )


def _unaided(x: Numbers, rows: Rows, random: np.random.Generator) -> Evidence:
    """What the judges have in common, and never against their majority; the interval is as wide as that deserves."""
    clear = moments.clipped(x, unaided.CLIP)
    found = patterns(np.isnan(x))
    link = dataclasses.replace(Link.of(EXPECTED), error=0.0)
    taught, usual = rows.of(PAIR) if rows.of(PAIR).any() else rows.learn, Worth(1.0, 1.0)

    def odds(weights: Numbers, of: Numbers = clear) -> Numbers:
        second = moments.shrunk_second(*moments.second(clear, weights))[0]
        return usual.odds(*unaided.scores(np.nan_to_num(of), second, found if of is clear else every), link)

    every = [(np.ones(x.shape[1], bool), np.arange(x.shape[1]))]
    weighed = odds(taught.astype(float))
    weights = odds(taught.astype(float), SMALL * np.eye(x.shape[1])) / SMALL
    spread = Spread(len(rows))
    for _ in range(_draws(rows)):
        spread.add(odds(taught * weights_of(rows.prompt, random)) - weighed)
    log_odds = unaided.with_majority(weighed, x)
    doubt = np.hypot(UNAIDED, FEW / np.sqrt(max(int(taught.sum()), 1))) * np.abs(log_odds)
    # Where it was turned round, the interval reaches to what it was before.
    width = np.hypot(np.hypot(spread.deviation, WIDER * doubt), np.where(weighed * log_odds < 0, weighed, 0.0))
    return Evidence("unaided", log_odds, _planted(rows), width, doubt, doubt, {}, weights, 0.0)

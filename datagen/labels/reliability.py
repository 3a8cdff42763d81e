"""How far each judge can be trusted, on pairs whose better image is known: accuracy, ties, place, agreement.

Intervals are of 95 %, by resampling prompts, since pairs of one prompt are not independent.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

ROUNDS = 1000
QUANTILES = (0.025, 0.975)


@dataclasses.dataclass(frozen=True)
class Share:
    """A share with its interval and the pairs it is of; NaN of none."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]" if self.count else "-"


@dataclasses.dataclass(frozen=True)
class Reliability:
    """One judge. `accuracy` is of the pairs that it decided, `ties` the share of those it saw without deciding.

    `first` is the share of the first place over both orders (0.5: no liking for it), `consistent` the pairs with the
    same winner in both orders; both None of a judge that scores images one by one. `unbiased` is the accuracy without
    the answers that a liking for a place decides.
    """

    accuracy: Share
    ties: Share
    coverage: float
    first: Share | None = None
    consistent: Share | None = None
    unbiased: float | None = None


def of_scores(margins: Numbers, labels: Numbers, prompts: NDArray[Any]) -> Reliability:
    """A judge from its margins (N,), first image − second, NaN where it abstained; a margin of 0 is a tie.

    `labels` are how likely the first image is the better one; pairs of 0.5 or NaN are known to nobody and left out.
    """
    known = _known(labels)
    seen = known & ~np.isnan(margins)
    decided = seen & (margins != 0)
    right = (margins > 0) == (labels > 0.5)
    coverage = float(seen.sum() / known.sum()) if known.any() else float("nan")
    return Reliability(share(right, decided, prompts), share(margins == 0, seen, prompts), coverage)


def of_orders(ahead: Numbers, behind: Numbers, labels: Numbers, prompts: NDArray[Any]) -> Reliability:
    """A judge that compares: `ahead` is P(first beats second) as they stand, `behind` P(second beats first) exchanged.

    A pair that the orders contradict each other about is a tie. Of answers that the place alone decides in a share b
    and the images otherwise, b and the accuracy of the others follow from the share of the first place and from how
    often an answer is right.
    """
    margins = votes_of(ahead, behind)
    found = of_scores(margins, labels, prompts)
    both = ~np.isnan(margins)
    wins = (_votes(ahead) + _votes(behind)) / 4 + 0.5
    same = np.sign(_votes(ahead)) == -np.sign(_votes(behind))
    first = share(wins, both, prompts)
    known = both & _known(labels)
    truth = np.where(labels > 0.5, 1.0, -1.0)
    right = (_votes(ahead) * truth - _votes(behind) * truth) / 4 + 0.5
    bias = abs(2 * first.value - 1)
    mean = float(right[known].mean()) if known.any() else float("nan")
    unbiased = (mean - bias / 2) / (1 - bias) if bias < 1 else float("nan")
    return dataclasses.replace(found, first=first, consistent=share(same, both, prompts), unbiased=unbiased)


def votes_of(ahead: Numbers, behind: Numbers) -> Numbers:
    """(N,) margins of a judge that compares: 0 where the orders contradict each other, NaN where one has no answer."""
    return np.where(np.isnan(ahead) | np.isnan(behind), np.nan, _votes(ahead) - _votes(behind))


def agreeing(one: Numbers, other: Numbers, prompts: NDArray[Any]) -> Share:
    """The share of the pairs that two judges of (N,) margins both decided on which they agree."""
    signs = np.sign(one), np.sign(other)
    return share(signs[0] == signs[1], (signs[0] * signs[1]) ** 2 == 1, prompts)


def agreement(margins: Numbers) -> Numbers:
    """(J, J) share of the pairs that two judges of (N, J) margins both decided on which they agree; NaN of none."""
    signs = np.sign(margins)
    decided = (signs != 0) & ~np.isnan(signs)
    signs = np.where(decided, signs, 0.0)
    both = decided.astype(float).T @ decided.astype(float)
    with np.errstate(invalid="ignore"):
        shares: Numbers = np.where(both > 0, (signs.T @ signs / np.where(both > 0, both, 1) + 1) / 2, np.nan)
    return shares


def error_correlation(margins: Numbers, labels: Numbers) -> Numbers:
    """(J, J) correlation of being wrong, over pairs that both decided; NaN where one is never or always wrong."""
    known, judges = _known(labels), margins.shape[1]
    truth = np.where(labels > 0.5, 1.0, -1.0)[:, None]
    decided = known[:, None] & ~np.isnan(margins) & (margins != 0)
    wrong = np.where(np.sign(margins) == truth, 0.0, 1.0)
    found = np.full((judges, judges), np.nan)
    for one in range(judges):
        for other in range(judges):
            both = decided[:, one] & decided[:, other]
            a, b = wrong[both, one], wrong[both, other]
            if len(a) and a.std() and b.std():
                found[one, other] = np.corrcoef(a, b)[0, 1]
    return found


def share(values: NDArray[Any], among: NDArray[np.bool_], prompts: NDArray[Any]) -> Share:
    """The mean of values in 0…1 over some pairs, with its interval; the draws are the same on every call."""
    count = int(among.sum())
    if not count:
        return Share(float("nan"), float("nan"), float("nan"), 0)
    kept = np.asarray(values, dtype=np.float64)[among]
    _, group = np.unique(np.asarray(prompts)[among], return_inverse=True)
    sums, sizes = np.bincount(group, kept), np.bincount(group)
    low, high = _interval(sums, sizes)
    return Share(float(kept.mean()), low, high, count)


def _interval(sums: NDArray[Any], sizes: NDArray[Any]) -> tuple[float, float]:
    """By resampling groups; where all are alike, as Wilson's of the number of groups, which is not of length 0."""
    groups = len(sums)
    if np.ptp(sums / sizes) == 0:
        mean, z = float(sums[0] / sizes[0]), 1.959964
        centre = (mean + z * z / (2 * groups)) / (1 + z * z / groups)
        half = z / (1 + z * z / groups) * np.sqrt(mean * (1 - mean) / groups + z * z / (4 * groups * groups))
        return float(max(0.0, centre - half)), float(min(1.0, centre + half))
    random = np.random.default_rng(0)
    means = []
    for _ in range(ROUNDS):
        drawn = random.integers(0, groups, groups)
        means.append(sums[drawn].sum() / sizes[drawn].sum())
    low, high = np.quantile(means, QUANTILES)
    return float(low), float(high)


def _known(labels: Numbers) -> NDArray[np.bool_]:
    known: NDArray[np.bool_] = ~np.isnan(labels) & (labels != 0.5)
    return known


def _votes(p: Numbers) -> Numbers:
    """A probability as a vote: 1, −1, or 0 for even odds."""
    return np.sign(p - 0.5)

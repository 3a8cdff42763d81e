"""Intervals by resampling prompts: pairs of one prompt are not independent, so prompts are drawn, never pairs.

Whatever is a function of sums over pairs is computed anew from the sums of the prompts that were drawn. Of more than
BLOCKS prompts, blocks of them are drawn, which is as valid and takes no longer for 100,000 prompts than for 2,000.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Statistic = Callable[[Numbers], Numbers]  # sums (..., K) → (...,); NaN where they say nothing

ROUNDS = 1000
BLOCKS = 2000
QUANTILES = (0.025, 0.975)
Z = 1.959964  # of the same, of a normal distribution


@dataclasses.dataclass(frozen=True)
class Share:
    """A number with its interval and the pairs it is of; NaN of none, and an interval of NaN of a single prompt."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]" if self.count else "-"


NOTHING = Share(float("nan"), float("nan"), float("nan"), 0)


def share(values: NDArray[Any], among: NDArray[np.bool_], prompts: NDArray[Any]) -> Share:
    """The mean of values in 0…1 over some pairs, with its interval; the draws are the same on every call.

    Where all prompts have the same mean, resampling shows no spread: the interval is Wilson's of as many trials.
    """
    if not among.any():
        return NOTHING
    kept = np.asarray(values, dtype=np.float64)[among]
    _, group = np.unique(np.asarray(prompts)[among], return_inverse=True)
    sums, sizes = np.bincount(group, kept), np.bincount(group)
    if np.ptp(sums / sizes) == 0:
        low, high = _wilson(float(sums[0] / sizes[0]), len(sums))
        return Share(float(kept.mean()), low, high, len(kept))
    return mean(values, among, prompts)


def mean(values: NDArray[Any], among: NDArray[np.bool_], prompts: NDArray[Any]) -> Share:
    """The mean of any values over some pairs, with its interval."""
    kept = np.asarray(values, dtype=np.float64)[among]
    return estimate(_ratio, np.stack([kept, np.ones(len(kept))], 1), np.asarray(prompts)[among], len(kept))


def estimate(statistic: Statistic, terms: NDArray[Any], prompts: NDArray[Any], count: int) -> Share:
    """A statistic of the sums of `terms` (N, K) over pairs, `count` of which it is of, with its interval."""
    if not len(terms):
        return NOTHING
    sums = by_block(terms, prompts)
    value = float(statistic(sums.sum(0)))
    if np.isnan(value):
        return NOTHING
    low, high = interval(statistic(draws(len(sums)) @ sums))
    return Share(value, low, high, count)


def interval(drawn: Numbers) -> tuple[float, float]:
    """The middle 95 % of what a statistic was in each draw; NaN where all draws were the same one prompt."""
    known = drawn[~np.isnan(drawn)]
    if len(known) < 2:
        return float("nan"), float("nan")
    low, high = np.quantile(known, QUANTILES)
    return float(low), float(high)


def by_block(terms: NDArray[Any], prompts: NDArray[Any]) -> Numbers:
    """(G, K): the sums of terms (N, K) over the pairs of each prompt, or block of prompts."""
    block = blocks(prompts)
    columns = np.asarray(terms, dtype=np.float64).T
    return np.stack([np.bincount(block, column) for column in columns], 1)


def numbered(prompts: NDArray[Any]) -> NDArray[np.int64]:
    """(N,) a number for each prompt id, in the order of the ids: what is told by prompts is the same, and quicker."""
    found: NDArray[np.int64] = np.unique(prompts, return_inverse=True)[1]
    return found


def blocks(prompts: NDArray[Any]) -> NDArray[np.int64]:
    """(N,) the number of the block that each pair's prompt belongs to, 0 and up."""
    return numbered(prompts) % BLOCKS


@functools.lru_cache(maxsize=4)
def draws(groups: int) -> Numbers:
    """(ROUNDS, groups): how often each group is drawn; NaN of a single group, which can be drawn in one way only."""
    if groups == 1:
        return np.full((ROUNDS, 1), np.nan)
    random = np.random.default_rng(0)
    found: Numbers = random.multinomial(groups, np.full(groups, 1 / groups), ROUNDS).astype(np.float64)
    return found


def _ratio(sums: Numbers) -> Numbers:
    """The first sum over the second; NaN of nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Numbers = sums[..., 0] / sums[..., 1]
    return found


def _wilson(mean: float, trials: int) -> tuple[float, float]:
    centre = (mean + Z * Z / (2 * trials)) / (1 + Z * Z / trials)
    half = Z / (1 + Z * Z / trials) * np.sqrt(mean * (1 - mean) / trials + Z * Z / (4 * trials * trials))
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))

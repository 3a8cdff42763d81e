"""Can something that no judge was asked about predict the winner by itself? The area under the curve, cross-validated.

Each fact of an image (how light it is, which model drew it) is turned into a few columns, and a logistic rule on the
difference of a pair's columns predicts its winner. A pair has no first image, so the rule has no intercept and each
pair counts both ways round. The rule is fitted on other prompts than it predicts, and the area is that of all
predictions: the probability that the winner of one pair is told from the loser of another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datagen.labels import resampling
from datagen.labels.resampling import Numbers

FOLDS = 5
LEAST = 20  # prompts with a difference: of fewer, nothing is said
LIMIT = 0.65  # of the area, beyond which a shortcut is warned of
RIDGE = 1.0  # of the weights, so that few pairs that are told apart perfectly give no infinite ones
STEPS = 25  # of Newton's method
TOGETHER = "all together"


@dataclasses.dataclass(frozen=True)
class Shortcut:
    """What one fact predicts. `auc` is None where it cannot be told, for the reason in `why`.

    `higher` is the share of the pairs that differ in it in which the winner has more of it, None of names. `warned`:
    the area is above LIMIT, and its interval, widened for as many facts as were tried, is clear of chance.
    """

    name: str
    auc: float | None
    low: float | None
    high: float | None
    pairs: int  # that differ in it
    higher: float | None
    warned: bool
    why: str = ""


Facts = Mapping[str, tuple[NDArray[Any], NDArray[Any]]]


def audit(facts: Facts, prompts: NDArray[Any]) -> list[Shortcut]:
    """What each fact predicts, and all of them together; the first of its two arrays (N,) is of the winners.

    Facts are numbers, NaN where unknown, or names.
    """
    tried = {name: _columns(*sides) for name, sides in facts.items()}
    level = 0.05 / max(1, len(tried))
    found = [_of(name, columns, facts[name], prompts, level) for name, columns in tried.items()]
    usable = [columns for columns in tried.values() if columns.any()]
    if len(usable) > 1:
        found.append(_of(TOGETHER, np.concatenate(usable, 1), None, prompts, level))
    return found


def _of(
    name: str,
    columns: Numbers,
    sides: tuple[NDArray[Any], NDArray[Any]] | None,
    prompts: NDArray[Any],
    level: float,
) -> Shortcut:
    differs = columns.any(1)
    pairs, higher = int(differs.sum()), None if sides is None else _higher(*sides)
    if not pairs:
        return Shortcut(name, None, None, None, 0, None, False, "the same in both images of every pair, or not known")
    groups = len(np.unique(prompts[differs]))
    if groups < LEAST:
        why = f"{groups} prompts have pairs that differ in it, and {LEAST} are needed"
        return Shortcut(name, None, None, None, pairs, higher, False, why)
    predicted = _cross_fitted(columns, prompts)
    value, drawn = auc(predicted, prompts)
    low, high = resampling.interval(drawn)
    clear = float(np.quantile(drawn, level / 2)) > 0.5
    return Shortcut(name, value, low, high, pairs, higher, value > LIMIT and clear)


def _columns(winners: NDArray[Any], losers: NDArray[Any]) -> Numbers:
    """(N, K) differences of what a rule may read of a fact: winner less loser, 0 where it does not tell the two.

    Of a number that is its place among all images, and how far that is from the middle, so that a liking for medium
    values is found as well; of a name, one column for each.
    """
    if winners.dtype.kind in "OUS":
        names = np.unique(np.concatenate([winners, losers]))
        shown: Numbers = (winners[:, None] == names).astype(np.float64) - (losers[:, None] == names)
        return shown
    count = len(winners)
    known = ~(np.isnan(winners) | np.isnan(losers))
    place = np.zeros(2 * count)
    both = np.tile(known, 2)
    place[both] = _places(np.concatenate([winners, losers])[both])
    read = np.stack([place, place**2], 1)
    found: Numbers = np.where(known[:, None], read[:count] - read[count:], 0.0)
    return found


def _places(values: Numbers) -> Numbers:
    """Ranks from −1 to 1, equal ones of equal values."""
    if not len(values):
        return values
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    after = np.cumsum(counts)
    found: Numbers = ((2 * after - counts) / len(values) - 1)[inverse]
    return found


def _higher(winners: NDArray[Any], losers: NDArray[Any]) -> float | None:
    if winners.dtype.kind in "OUS":
        return None
    more, less = int((winners > losers).sum()), int((winners < losers).sum())
    return more / (more + less) if more + less else None


def _cross_fitted(columns: Numbers, prompts: NDArray[Any]) -> Numbers:
    """(N,) what a rule fitted on other prompts says of each pair: positive if it finds the winner."""
    _, group = np.unique(prompts, return_inverse=True)
    folds = np.random.default_rng(0).permutation(group.max() + 1)[group] % FOLDS
    found = np.zeros(len(columns))
    for fold in range(FOLDS):
        mine = folds == fold
        found[mine] = columns[mine] @ _fit(columns[~mine])
    return found


def _fit(columns: Numbers) -> Numbers:
    """(K,) weights that maximise Σ log sigmoid(columns · weights) − RIDGE/2 |weights|²."""
    weights = np.zeros(columns.shape[1])
    for _ in range(STEPS):
        wrong = 1 / (1 + np.exp(np.clip(columns @ weights, -500, 500)))
        slope = columns.T @ wrong - RIDGE * weights
        bend = (columns * (wrong * (1 - wrong))[:, None]).T @ columns + RIDGE * np.eye(len(weights))
        step = np.linalg.solve(bend, slope)
        weights = weights + step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def auc(predicted: Numbers, prompts: NDArray[Any]) -> tuple[float, Numbers]:
    """The area of predictions (N,), positive for the winner, and what it is in each draw of the prompts.

    Each pair is a winner with its prediction and a loser with the negative one, so the area is the probability that
    two predictions add up to more than 0 (half of it where to 0 just): of two, the larger one's sign decides.
    """
    size = np.abs(predicted)
    order = np.argsort(size, kind="stable")
    _, level = np.unique(size[order], return_inverse=True)
    sign = np.sign(predicted[order])
    block = resampling.blocks(prompts)[order]
    value = float(_area(np.ones(len(order)), sign, level))
    draws = resampling.draws(int(block.max()) + 1)
    return value, np.array([_area(drawn[block], sign, level) for drawn in draws])


def _area(weights: Numbers, sign: Numbers, level: NDArray[np.int64]) -> float:
    """The area for weighted predictions in the order of their size; equal sizes are of one level."""
    each = np.bincount(level, weights)
    won = np.bincount(level, weights * (sign > 0))
    even = np.bincount(level, weights * (sign == 0))
    below = np.cumsum(each) - each
    # The larger one's sign decides; among equals two wins win, a win and a loss are even, and so are two of size 0.
    total = each.sum()
    return float(2 * (won * below).sum() + (won * each + even * even / 2).sum()) / float(total * total)

"""Many scores as few: neighbours of which the same is known stand as their mean, weighed by how many they are.

So a link is fitted to all pairs in the time that some thousands take. A sample of them would be as far off as a run of
its size.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from datagen.labels.instrument.rows import Codes, Numbers

LEVELS = 64  # of what scores are expected to be, where they are more: of folds, and of the judges that spoke


@dataclasses.dataclass(frozen=True)
class Scores:
    """N scores (N,), what they are expected to be along the design, the design and labels of people, and of how many
    pairs each is."""

    score: Numbers
    expected: Numbers
    design: Numbers
    known: Numbers
    counts: Numbers


def condensed(score: Numbers, expected: Numbers, design: Numbers, known: Numbers, most: int) -> Scores:
    """About `most` of N scores of pairs of which something is known: their means; all, if they are no more.

    Pairs are turned so that the better image by the design, or else by people, comes first, since of which side it is
    says nothing; then only those are put together of which the same is known.
    """
    size = -(-len(score) // most)
    if size <= 1:
        return Scores(score, expected, design, known, np.ones(len(score)))
    side = np.where(design != 0, design, np.where(known == 0, -1.0, 1.0))
    score, design, known = score * side, np.abs(design), np.where(side < 0, 1 - known, known)
    told = np.where(np.isnan(known), 2, known)
    group = 6 * _levels(expected) + (3 * design + told).astype(np.int64)
    order = np.lexsort([score, group])
    first = np.flatnonzero(np.diff(group[order], prepend=-1))
    place = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
    begins = np.flatnonzero(place % size == 0)
    counts = np.diff(begins, append=len(order)).astype(float)
    some = order[begins]
    score, expected = (np.add.reduceat(of[order], begins) / counts for of in (score, expected))
    return Scores(score, expected, design[some], known[some], counts)


def _levels(expected: Numbers) -> Codes:
    values, level = np.unique(expected, return_inverse=True)
    if len(values) > LEVELS:
        level = np.searchsorted(np.quantile(expected, np.linspace(0, 1, LEVELS + 1)[1:-1]), expected)
    return level

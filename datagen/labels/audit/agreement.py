"""How far judges agree beyond chance: Cohen's and Fleiss's kappa, Krippendorff's alpha, each from sums over pairs.

Which image of a pair comes first is arbitrary, so each pair counts in both orders: a judge that prefers the first
image of every pair as they are listed agrees with another no more by chance than any judge. A tie is an answer like
the other two; an abstention is none. Cohen 1960; Fleiss 1971; Krippendorff 2011, "Computing Krippendorff's
alpha-reliability".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from datagen.labels import resampling
from datagen.labels.resampling import Numbers, Share

ANSWERS = (1.0, 0.0, -1.0)  # the first image, a tie, the second one


def cohen(one: Numbers, other: Numbers, prompts: NDArray[Any]) -> Share:
    """Cohen's kappa of two judges from their margins (N,), over the pairs that both spoke of."""
    both = ~np.isnan(one) & ~np.isnan(other)
    cells = [(_is(one, a) & _is(other, b))[both] for a in ANSWERS for b in ANSWERS]
    mirrored = np.stack(cells, 1) + np.stack(cells[::-1], 1)
    return resampling.estimate(_kappa_of_cells, mirrored, prompts[both], int(both.sum()))


def fleiss(margins: Numbers, prompts: NDArray[Any]) -> Share:
    """Fleiss's kappa of margins (N, J), J of two or more, over the pairs that all judges spoke of."""
    judges = margins.shape[1]
    whole = ~np.isnan(margins).any(1)
    counts = _counts(margins[whole])
    agreeing = ((counts * counts).sum(1) - judges) / (judges * (judges - 1))
    terms = np.column_stack([2 * agreeing, counts + counts[:, ::-1], np.full(len(counts), 2.0)])
    return resampling.estimate(_kappa_of_counts, terms, prompts[whole], int(whole.sum()))


def alpha_nominal(margins: Numbers, prompts: NDArray[Any]) -> Share:
    """Krippendorff's alpha of who wins, from margins (N, J), over the pairs that two judges or more spoke of."""
    spoken = (~np.isnan(margins)).sum(1)
    kept = spoken > 1
    counts, of = _counts(margins[kept]), spoken[kept]
    agreeing = ((counts * (counts - 1)).sum(1)) / (of - 1)
    terms = np.column_stack([2 * of, 2 * agreeing, counts + counts[:, ::-1]])
    return resampling.estimate(_nominal, terms, prompts[kept], int(kept.sum()))


def alpha_interval(margins: Numbers, prompts: NDArray[Any]) -> Share:
    """Krippendorff's alpha of by how much, from margins (N, J) that are in one unit."""
    spoken = (~np.isnan(margins)).sum(1)
    kept = spoken > 1
    some, of = margins[kept], spoken[kept]
    squares, total = np.nansum(some * some, 1), np.nansum(some, 1)
    apart = 2 * (of * squares - total * total) / (of - 1)
    zeros = np.zeros(len(of))  # in both orders a margin has both signs, so that all of them add up to 0
    terms = np.column_stack([2 * of, 2 * apart, 2 * squares, zeros])
    return resampling.estimate(_interval, terms, prompts[kept], int(kept.sum()))


def in_one_unit(margins: Numbers) -> Numbers:
    """Margins (N, J) over each judge's own root mean square; NaN of one that never decides."""
    with np.errstate(invalid="ignore", divide="ignore"):
        square = np.nansum(margins * margins, 0) / (~np.isnan(margins)).sum(0)
        found: Numbers = margins / np.where(square > 0, np.sqrt(square), np.nan)
    return found


def _is(margins: Numbers, answer: float) -> NDArray[np.bool_]:
    return np.equal(np.sign(margins), answer)


def _counts(margins: Numbers) -> Numbers:
    """(N, 3): how many judges give each answer about a pair."""
    return np.stack([_is(margins, answer).sum(1) for answer in ANSWERS], 1).astype(np.float64)


def _kappa_of_cells(sums: Numbers) -> Numbers:
    """Cohen's kappa of the cells (..., 9) of a table, row by row."""
    table = sums.reshape(*sums.shape[:-1], 3, 3)
    count = table.sum((-1, -2))
    observed = np.trace(table, axis1=-2, axis2=-1)
    expected = (table.sum(-1) * table.sum(-2)).sum(-1)
    return _beyond(observed * count, expected, count * count)


def _kappa_of_counts(sums: Numbers) -> Numbers:
    """Fleiss's kappa from agreement, how often each of three answers was given, and how many pairs there are."""
    agreeing, answers, count = sums[..., 0], sums[..., 1:4], sums[..., 4]
    total = answers.sum(-1)
    expected = (answers * answers).sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return _beyond(agreeing / count, expected / (total * total), np.ones_like(count))


def _nominal(sums: Numbers) -> Numbers:
    """Krippendorff's alpha from values, values that agree with another, and how often each answer was given."""
    values, agreeing, answers = sums[..., 0], sums[..., 1], sums[..., 2:5]
    apart = values * values - (answers * answers).sum(-1)
    return _alpha(values, values - agreeing, apart)


def _interval(sums: Numbers) -> Numbers:
    """Krippendorff's alpha from values, squared differences within pairs, squares, and the sum of all values."""
    values, within, squares, total = (sums[..., column] for column in range(4))
    return _alpha(values, within, 2 * (values * squares - total * total))


def _alpha(values: Numbers, within: Numbers, apart: Numbers) -> Numbers:
    """1 − observed over expected disagreement; NaN where all values are alike."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Numbers = np.where(apart > 0, 1 - (values - 1) * within / apart, np.nan)
    return found


def _beyond(observed: Numbers, expected: Numbers, most: Numbers) -> Numbers:
    """(observed − expected) / (most − expected); NaN where chance alone agrees always."""
    with np.errstate(invalid="ignore", divide="ignore"):
        room = most - expected
        found: Numbers = np.where(room > 1e-12 * most, (observed - expected) / room, np.nan)
    return found

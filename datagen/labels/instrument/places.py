"""A judge's liking for the image in the first place: what its margins have in common whatever was meant or true."""

from __future__ import annotations

import numpy as np

from datagen.labels.instrument.rows import NULL, PAIR, Numbers, Rows

SURE = 3.5  # standard errors from 0 before anything is taken out


def liking(margins: Numbers, rows: Rows) -> Numbers:
    """(J,) in the judges' own units; 0 where it is not significant or cannot be told from what is true.

    Where a design lies now on one side and now on the other, the constant of margin = constant + slope · design; of
    nulls and of pairs without a design, whose sides are in no order, the mean.
    """
    found = np.zeros(margins.shape[1])
    designed = rows.learn & (rows.design != 0)
    free = rows.of(NULL) if rows.of(NULL).any() or designed.any() else rows.of(PAIR)
    for j, column in enumerate(margins.T):
        spoke = ~np.isnan(column)
        at, plain = designed & spoke, free & (rows.design == 0) & spoke
        parts = [
            _constant(column[at], rows.design[at], rows.role[at]),
            _constant(column[plain], np.zeros(plain.sum()), np.zeros(plain.sum())),
        ]
        total = sum(part[1] for part in parts)
        if total > 0:
            mean = sum(part[0] * part[1] for part in parts) / total
            found[j] = mean if abs(mean) * np.sqrt(total) > SURE else 0.0
    return found


def _constant(said: Numbers, design: Numbers, role: Numbers) -> tuple[float, float]:
    """The constant and its precision; 0 and 0 where it cannot be told."""
    columns = [np.ones(len(said))]
    for kind in np.unique(role):
        lean = np.where(role == kind, design, 0.0)
        if lean.any():
            columns.append(lean)
    matrix = np.stack(columns, 1)
    if len(said) < 10 * len(columns) or np.linalg.matrix_rank(matrix) < len(columns):
        return 0.0, 0.0
    inverse = np.linalg.inv(matrix.T @ matrix)
    fitted = inverse @ (matrix.T @ said)
    rest = said - matrix @ fitted
    variance = float(rest @ rest) / (len(said) - len(columns)) * inverse[0, 0]
    return (float(fitted[0]), 1 / variance) if variance > 0 else (float(fitted[0]), 1e12)

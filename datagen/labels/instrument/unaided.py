"""Where nothing is meant and nothing planted: what judges have in common, less what groups of them have."""

from __future__ import annotations

import numpy as np

from datagen.labels.instrument.moments import SMALLEST, Moments
from datagen.labels.instrument.rows import Numbers

ROUNDS = 200
EXCESS = 0.25  # how much an agreement above the common one counts in it: judges of a group agree in errors, too
LARGEST = 0.9  # of the share of a judge's margins that can be truth


def common(second: Numbers) -> Moments:
    """Moments whose signal is what all judges agree in; one judge is believed as .75 of its margins were truth."""
    judges = len(second)
    size = np.sqrt(np.maximum(np.diag(second), 1e-12))
    matrix = second / np.outer(size, size)
    if judges < 3:
        mean = float(matrix[0, 1]) if judges == 2 else 0.3
        signal = np.full(judges, np.sqrt(np.clip(mean, 0.05, LARGEST)))
        return Moments(second, signal * size)
    signal = np.sqrt(np.clip(np.median(matrix - np.eye(judges), axis=1), 0.05, LARGEST))
    for _ in range(ROUNDS):
        rest = matrix - np.outer(signal, signal)
        weights = np.where(rest > 0, EXCESS, 1.0) / (0.05 + np.abs(rest))
        np.fill_diagonal(weights, 0.0)
        top, below = (weights * matrix) @ signal, weights @ signal**2
        signal = np.clip(0.5 * signal + 0.5 * top / np.maximum(below, 1e-9), 0.05, np.sqrt(LARGEST))
    signal = 0.5 * signal + 0.5 * signal.mean()
    noise = matrix - np.outer(signal, signal)
    values, vectors = np.linalg.eigh(noise)
    noise = (vectors * np.maximum(values, max(SMALLEST, 0.1))) @ vectors.T
    return Moments((noise + np.outer(signal, signal)) * np.outer(size, size), signal * size)

"""What judges have in common, less what only groups of them have: all there is where nothing is meant or planted.

Judges that read the truth agree by the product of what each sees of it; two of a group agree in errors as well. So the
common part is a product fitted from below: agreement above it counts little, agreement under it counts fully.
"""

from __future__ import annotations

import numpy as np

from datagen.labels.instrument.rows import Codes, Flags, Numbers

ROUNDS = 60
CLIP = 1.5  # where a margin stops to count, in units of its usual size
EXCESS = 0.25  # how much agreement above the common one counts
LEAST, LARGEST = 0.05, 0.95  # of a judge's correlation with the truth
ENOUGH = 5  # judges from which on they are weighed by what they have in common; fewer have equal weights
CAUTION = 0.92  # judges agree in errors, too: what they have in common, times this, is sure of itself as it should be
SILENT = 1.5  # judges: log-odds are as if so many more had said nothing, since few cannot show in what they all err
CONTRADICTED = 0.1  # log-odds of a majority that the weighed margins contradict
GUESS = 0.55  # the correlation of one judge alone


def common(second: Numbers) -> Numbers:
    """What each judge's margins have of the truth, E[x·z] (J,), by S = E[xxᵀ] (J, J) alone."""
    judges = len(second)
    size = np.sqrt(np.maximum(np.diag(second), 1e-12))
    matrix = second / np.outer(size, size)
    if judges < 3:
        seen = float(np.sqrt(np.clip(matrix[0, 1], LEAST, LARGEST**2))) if judges == 2 else GUESS
        return np.full(judges, seen) * size
    signal = np.sqrt(np.clip(np.median(matrix - np.eye(judges), axis=1), LEAST, LARGEST**2))
    for _ in range(ROUNDS):
        rest = matrix - np.outer(signal, signal)
        weights = np.where(rest > 0, EXCESS, 1.0) / (0.05 + np.abs(rest))
        np.fill_diagonal(weights, 0.0)
        found = (weights * matrix) @ signal / np.maximum(weights @ signal**2, 1e-9)
        signal = np.clip((signal + found) / 2, LEAST, LARGEST)
    # One product says little of each judge: half of what it makes of their differences is believed.
    result: Numbers = (signal + signal.mean()) / 2 * size
    return result


def scores(x: Numbers, second: Numbers, found: list[tuple[Flags, Codes]]) -> tuple[Numbers, Numbers]:
    """Score (N,) and its expectation along the truth (N,), which is its mean square as well.

    Weights are equal, or the squares of what the judges have of the truth; that never needs S⁻¹, which amplifies what
    is not known of groups.
    """
    signal = CAUTION * common(second)
    size = np.sqrt(np.maximum(np.diag(second), 1e-12))
    weights = (signal / size) ** 2 / size if len(size) >= ENOUGH else 1 / size
    score, expected = np.zeros(len(x)), np.zeros(len(x))
    for spoke, at in found:
        if spoke.any():
            weight = weights[spoke]
            mean, square = weight @ signal[spoke], weight @ second[np.ix_(spoke, spoke)] @ weight
            score[at] = x[np.ix_(at, spoke)] @ weight * (mean / square)
            expected[at] = mean**2 / square
    return score, expected


def with_majority(log_odds: Numbers, x: Numbers) -> Numbers:
    """Log-odds (N,) of margins (N, J) that never contradict most of the judges that decided.

    No weight learnt from agreement alone is sure to be better than one vote a judge: those that agree most may agree
    in an error. So margins say how sure a majority is, and decide where there is none.
    """
    votes = np.sign(np.nansum(np.sign(x), axis=1))
    judges = int((~np.isnan(x)).any(0).sum())
    calm = log_odds * (judges / (judges + SILENT))
    result: Numbers = np.where(votes * log_odds < 0, CONTRADICTED * votes, calm)
    return result

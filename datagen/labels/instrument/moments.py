"""How the judges lean together and along the design, shrunk as far as their number of pairs asks for.

With margins x of judges, S = E[xxᵀ] and c = E[x·design]; the best linear rule is w = S⁻¹c.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from datagen.labels.instrument.rows import Codes, Flags, Numbers

CLIPS = (float("inf"), 3.0, 1.5, 0.75)  # where a margin stops to count, in units of its judge's usual one
EQUAL = np.concatenate([[0.0], np.geomspace(1e-4, 0.3, 25)])  # variances of the judges' signals that are tried
SMALLEST = 0.02  # of a correlation matrix's eigenvalues


@dataclasses.dataclass(frozen=True)
class Moments:
    """S (J, J), c (J,), the pairs that each is of, and the shares by which they were drawn to equal ones."""

    second: Numbers
    signal: Numbers
    pulled: float = 0.0
    pulled_second: float = 0.0


def unit(margins: Numbers) -> Numbers:
    """Each judge's usual margin (J,): the median of its size where it decides, as of a normal; 0 if it never does."""
    found = np.zeros(margins.shape[1])
    for j, column in enumerate(margins.T):
        sizes = np.abs(column[~np.isnan(column) & (column != 0)])
        found[j] = np.median(sizes) / 0.6745 if len(sizes) else 0.0
    return found


def clipped(x: Numbers, clip: float) -> Numbers:
    """Margins that stop to grow beyond a size, smoothly."""
    return x if np.isinf(clip) else clip * np.tanh(x / clip)


def second(x: Numbers, weights: Numbers) -> tuple[Numbers, Numbers]:
    """E[xxᵀ] over the pairs that both judges spoke of, and their weighted number."""
    there = (~np.isnan(x)).astype(float)
    filled = np.nan_to_num(x)
    number = (there * weights[:, None]).T @ there
    total = (filled * weights[:, None]).T @ filled
    # Of a judge that said nothing here its usual margin is known, and that is 1.
    return np.where(number > 0, total / np.maximum(number, 1e-9), np.eye(x.shape[1])), number


def along(x: Numbers, design: Numbers, weights: Numbers) -> tuple[Numbers, Numbers]:
    """E[x·design] of each judge, and the pairs with a design that two judges spoke of (J, J)."""
    there = (~np.isnan(x)).astype(float)
    held = weights * (design != 0)
    number = (there * held[:, None]).T @ there
    total = (np.nan_to_num(x) * (design * weights)[:, None]).sum(0)
    return total / np.maximum(np.diag(number), 1e-9), number


def shrunk_second(found: Numbers, number: Numbers) -> tuple[Numbers, float]:
    """S with its correlations drawn to their mean as far as they are noise (Ledoit and Wolf 2004), and the share."""
    judges = len(found)
    size = np.sqrt(np.maximum(np.diag(found), 1e-12))
    if judges == 1:
        return found, 0.0
    matrix = np.clip(found / np.outer(size, size), -0.999, 0.999)
    upper = np.triu_indices(judges, 1)
    mean = float(matrix[upper].mean())
    noise = ((1 - matrix[upper] ** 2) ** 2 / np.maximum(number[upper], 1)).sum()
    share = float(min(1.0, noise / max(((matrix[upper] - mean) ** 2).sum(), 1e-12)))
    np.fill_diagonal(matrix, 1.0)
    matrix = (1 - share) * matrix + share * (np.full_like(matrix, mean) + (1 - mean) * np.eye(judges))
    return positive(matrix) * np.outer(size, size), share


def positive(matrix: Numbers) -> Numbers:
    """A correlation matrix whose eigenvalues are no smaller than SMALLEST."""
    values, vectors = np.linalg.eigh(matrix)
    result: Numbers = (vectors * np.maximum(values, SMALLEST)) @ vectors.T
    return result


def shrunk_signal(signal: Numbers, second: Numbers, number: Numbers, toward: Numbers) -> tuple[Numbers, float]:
    """c drawn towards a multiple of `toward` (J,) as far as they differ by noise, and the share.

    Empirical Bayes: signals in units of each judge's margins are normal around that multiple, with a variance of
    largest marginal likelihood; their errors are correlated as the margins are.
    """
    judges = len(signal)
    if judges == 1:
        return signal, 0.0
    size = np.sqrt(np.maximum(np.diag(second), 1e-12))
    found, own = signal / size, np.maximum(np.diag(number), 1.0)
    noise = second / np.outer(size, size) * np.maximum(number, 0) / np.outer(own, own)
    best: tuple[float, Numbers, float] | None = None
    likely = toward / size / float((toward / size).mean())
    for variance in EQUAL:
        total = noise + (variance + 1e-10) * np.eye(judges)
        precision = np.linalg.inv(total)
        weight = float(likely @ precision @ likely)
        mean = likely * (float(likely @ precision @ found) / weight)
        rest = found - mean
        likelihood = -0.5 * float(np.linalg.slogdet(total)[1] + rest @ precision @ rest + np.log(weight))
        if best is None or likelihood > best[0]:
            kept = variance * precision
            best = (likelihood, mean + kept @ rest, 1 - float(np.trace(kept)) / judges)
    assert best is not None
    return best[1] * size, best[2]


def rule(moments: Moments, x: Numbers) -> tuple[Numbers, Numbers]:
    """The best weights (J,) where all judges speak that ever do in x (N, J), and their score's expectation (1,)."""
    spoke: Flags = np.asarray((~np.isnan(x)).any(axis=0))
    weight = np.zeros(len(spoke))
    weight[spoke] = np.linalg.solve(moments.second[np.ix_(spoke, spoke)], moments.signal[spoke])
    return weight, np.array([float(weight @ moments.signal)])


def scores(x: Numbers, moments: Moments, found: list[tuple[Flags, Codes]]) -> tuple[Numbers, Numbers]:
    """w·x (N,) with the best weights for the judges that spoke, and what that is expected to be along the design."""
    score, expected = np.zeros(len(x)), np.zeros(len(x))
    if not found:
        return score, expected
    spoke = np.stack([there for there, _ in found])
    masked = np.where(spoke[:, :, None] & spoke[:, None, :], moments.second[None], np.eye(x.shape[1])[None])
    weights = np.linalg.solve(masked, np.where(spoke, moments.signal, 0.0)[..., None])[..., 0]
    for weight, (_, at) in zip(weights, found, strict=True):
        score[at] = x[at] @ weight
        expected[at] = weight @ moments.signal
    return score, np.maximum(expected, 0.0)

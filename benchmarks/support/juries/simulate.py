"""Simulated juries: judges that share errors, on scales of their own, and the Bayes rule that knows all of it.

The margin of judge j on a pair with truth z = ±1 is scale·(z·d·strength + √ρ·F + √(1 − ρ)·E + bias): d is how clear
the pair is (mean 1), F an error that the judges of a group share, E one of its own, normal or of Student's t.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

Numbers = NDArray[np.float64]
KINDS = ("plain", "hard", "heavy", "votes")  # equal clarity; unequal; unequal with heavy tails; unequal, signs alone
TAIL = 4.0  # degrees of freedom of heavy tails
ABSTAIN = 0.2
FACTOR = np.arange(-4.6, 4.61, 0.2)  # where a shared error is summed up
CLARITY = stats.gamma(2, scale=0.5)  # of unequal pairs


@dataclasses.dataclass(frozen=True)
class Jury:
    """What is true of a jury; arrays (J,). `bias` is its liking for the first place, in units of its noise."""

    kind: str
    strength: Numbers
    group: NDArray[np.int64]
    shared: Numbers
    scale: Numbers
    bias: Numbers

    @property
    def clarity(self) -> Numbers:
        """Equally probable values of how clear a pair is."""
        return np.ones(1) if self.kind == "plain" else CLARITY.ppf((np.arange(15) + 0.5) / 15)


def jury(rng: np.random.Generator, kind: str, judges: int = 0) -> Jury:
    """3 to 9 judges that are right in .55 to .9 of the pairs, in groups that share up to .95 of their errors."""
    judges = judges or int(rng.integers(3, 10))
    group = rng.integers(0, max(2, judges // 2 + 1), judges)
    shared = np.where(rng.random(judges) < 0.7, rng.uniform(0.5, 0.95, judges), rng.uniform(0, 0.2, judges))
    accuracies = rng.uniform(0.55, 0.9, judges)
    bias = np.where(rng.random(judges) < 0.3, rng.normal(0, 0.4, judges), 0.0)
    scale = np.exp(rng.normal(0, 1, judges))
    blank = Jury(kind, np.zeros(judges), group, shared, scale, bias)
    strength = np.array([_strength(blank, j, accuracy) for j, accuracy in enumerate(accuracies)])
    return dataclasses.replace(blank, strength=strength)


def _strength(blank: Jury, judge: int, accuracy: float) -> float:
    """What makes a judge right in so many pairs."""
    own = np.sqrt(1 - blank.shared[judge])
    factor = stats.norm.ppf((np.arange(200) + 0.5) / 200) * np.sqrt(blank.shared[judge])
    noise = stats.t(TAIL, scale=np.sqrt(0.5)) if blank.kind == "heavy" else stats.norm()

    def missing(strength: float) -> float:
        at = (blank.clarity[:, None] * strength + factor[None]) / own
        return float(noise.cdf(at).mean()) - accuracy

    return float(optimize.brentq(missing, 0, 50))


def margins(jury: Jury, rng: np.random.Generator, truth: Numbers, clarity: Numbers, noise: float = 1.0) -> Numbers:
    """What the judges say (N, J) of pairs of this truth and clarity (N,)."""
    pairs, judges = len(truth), len(jury.strength)
    factor = rng.standard_normal((pairs, int(jury.group.max()) + 1))[:, jury.group]
    own = rng.standard_normal((pairs, judges))
    if jury.kind == "heavy":
        own = rng.standard_t(TAIL, (pairs, judges)) / np.sqrt(2)
    errors = noise * (np.sqrt(jury.shared) * factor + np.sqrt(1 - jury.shared) * own)
    said = (truth * clarity)[:, None] * jury.strength + errors + jury.bias
    said = np.sign(said) if jury.kind == "votes" else said * jury.scale
    return np.where(rng.random(said.shape) < ABSTAIN, np.nan, said)


def clarities(jury: Jury, rng: np.random.Generator, pairs: int) -> Numbers:
    """How clear each of so many pairs is."""
    return np.ones(pairs) if jury.kind == "plain" else np.asarray(CLARITY.rvs(pairs, random_state=rng))


def bayes(jury: Jury, said: Numbers, chunk: int = 500) -> Numbers:
    """P(truth = +1) of margins (N, J) by the rule that knows the jury, but neither d nor F nor E of a pair."""
    x = said if jury.kind == "votes" else said / jury.scale
    parts = []
    for start in range(0, len(x), chunk):
        rows = x[start : start + chunk]
        logs = [_evidence(jury, rows, sign * jury.clarity) for sign in (1.0, -1.0)]
        parts.append(special.expit(logs[0] - logs[1]))
    return np.concatenate(parts)


def _evidence(jury: Jury, x: Numbers, signals: Numbers) -> Numbers:
    """log p(margins) (N,), the signals being equally probable."""
    total = np.zeros((len(x), len(signals)))
    weights = np.log(stats.norm.pdf(FACTOR) * 0.2)
    for group in np.unique(jury.group):
        logs = np.broadcast_to(weights, (len(x), len(signals), len(FACTOR))).copy()
        for j in np.flatnonzero(jury.group == group):
            mean = signals[:, None] * jury.strength[j] + np.sqrt(jury.shared[j]) * FACTOR + jury.bias[j]
            logs += _log_density(jury, x[:, j, None, None], mean[None], float(np.sqrt(1 - jury.shared[j])))
        total += _log_sum(logs)
    return _log_sum(total)


def _log_density(jury: Jury, x: Numbers, mean: Numbers, spread: float) -> Numbers:
    """Up to a constant; 0 where the judge abstained."""
    if jury.kind == "votes":
        logs = np.where(x == 0, 0.0, special.log_ndtr(np.where(x >= 0, 1.0, -1.0) * mean / spread))
    else:
        at = (x - mean) / spread
        logs = -(TAIL + 1) / 2 * np.log1p(at * at * 2 / TAIL) if jury.kind == "heavy" else -at * at / 2
    result: Numbers = np.where(np.isnan(x), 0.0, logs)
    return result


def _log_sum(logs: Numbers) -> Numbers:
    top = logs.max(-1)
    result: Numbers = top + np.log(np.exp(logs - top[..., None]).sum(-1))
    return result


def design(rng: np.random.Generator, truth: Numbers, right: float) -> Numbers:
    """What was meant (N,): the truth in so many of the pairs."""
    meant: Numbers = truth * np.where(rng.random(len(truth)) < right, 1.0, -1.0)
    return meant


def with_design(probability: Numbers, meant: Numbers, right: float) -> Numbers:
    """The Bayes rule that knows how often the design is right as well."""
    odds = special.logit(np.clip(probability, 1e-12, 1 - 1e-12)) + meant * np.log(right / (1 - right))
    result: Numbers = special.expit(odds)
    return result


def coin(rng: np.random.Generator, pairs: int) -> Numbers:
    """±1, even odds."""
    tossed: Numbers = rng.choice(np.array([1.0, -1.0]), pairs)
    return tossed


def arrays(*parts: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Rows of several roles, one under the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

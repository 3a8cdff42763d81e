"""Figures and their 95 % intervals: a percentile bootstrap over prompts and, where there are several, over seeds.

A figure is a function of how often each prompt counts, so a resample is a matrix product and every figure, also one
that is not a mean, is resampled alike. The change between two arms is resampled in pairs: same prompts, same seeds.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

RESAMPLES = 1000


class Figure(Protocol):
    """One figure of one arm and seed. `biased`: it is a distance from 0, which resampling alone makes larger."""

    biased: ClassVar[bool]

    @property
    def images(self) -> int:
        """How many images, or pairs of images, it rests on."""

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """(D,) values, one for each row of `counts` (D, P): how often each of the P prompts counts."""


@dataclasses.dataclass(frozen=True)
class Mean:
    """A mean over images, or over prompts, from what each prompt adds to it: totals and weights, (P,) each."""

    totals: np.ndarray
    weights: np.ndarray
    images: int
    biased: ClassVar[bool] = False

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((counts @ self.totals) / (counts @ self.weights))

    @property
    def value(self) -> float:
        """The mean itself; NaN where nothing counts."""
        return float(self(np.ones((1, len(self.totals))))[0])


@dataclasses.dataclass(frozen=True)
class Single:
    """A figure of the whole set that resampled prompts would bias (FID, Inception Score): it has no interval."""

    value: float
    images: int
    biased: ClassVar[bool] = False

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        return np.full(len(counts), self.value)


def mean(prompt_of: np.ndarray | Sequence[int], values: Any, prompts: int) -> Mean:
    """The mean of one value an image; NaN says that an image does not count."""
    values = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(values)
    where = np.asarray(prompt_of, dtype=np.int64)[known]
    return Mean(
        np.bincount(where, values[known], minlength=prompts),
        np.bincount(where, minlength=prompts).astype(np.float64),
        int(known.sum()),
    )


@dataclasses.dataclass(frozen=True)
class Resamples:
    """How often each resample has each prompt, (RESAMPLES, P), and each seed, (RESAMPLES, S); one for all figures."""

    prompts: np.ndarray
    seeds: np.ndarray


def resample(prompts: int, seeds: int = 1, seed: int = 0) -> Resamples:
    """Resamples with replacement, of prompts and of seeds independently: each seed saw the same prompts."""
    rng = np.random.default_rng(seed)
    return Resamples(*(rng.multinomial(n, [1 / n] * n, RESAMPLES).astype(np.float32) for n in (prompts, seeds)))


def estimate(figures: Sequence[Figure], resamples: Resamples) -> dict[str, float]:
    """Value (the mean over the seeds' figures), low, high and images of one arm; no low and high for a `Single`."""
    return {
        **_summary(_value(figures, resamples), _of_resamples(figures, resamples), figures),
        "images": _images(figures),
    }


def change(base: Sequence[Figure], adapted: Sequence[Figure], resamples: Resamples) -> dict[str, float]:
    """The adapted figure minus the base's, resampled together."""
    value = _value(adapted, resamples) - _value(base, resamples)
    resampled = _of_resamples(adapted, resamples) - _of_resamples(base, resamples)
    return {**_summary(value, resampled, adapted), "images": _images(adapted)}


def relative(base: Sequence[Figure], adapted: Sequence[Figure], resamples: Resamples) -> dict[str, float]:
    """The change as a share of the base's figure, resampled together: −0.9 is a tenth of it left."""
    with np.errstate(invalid="ignore", divide="ignore"):
        value = _value(adapted, resamples) / np.float64(_value(base, resamples)) - 1
        resampled = _of_resamples(adapted, resamples) / _of_resamples(base, resamples) - 1
    return {**_summary(float(value), resampled, adapted), "images": _images(adapted)}


def _summary(value: float, resampled: np.ndarray, figures: Sequence[Figure]) -> dict[str, float]:
    if isinstance(figures[0], Single):
        return {"value": value}
    finite = resampled[np.isfinite(resampled)]
    low, high = np.quantile(finite, [0.025, 0.975]) if len(finite) else (np.nan, np.nan)
    return {"value": value, "low": float(low), "high": float(high)}


def _value(figures: Sequence[Figure], resamples: Resamples) -> float:
    once = np.ones((1, resamples.prompts.shape[1]))
    return float(_over_seeds(np.stack([figure(once) for figure in figures]), np.ones((1, len(figures))))[0])


def _of_resamples(figures: Sequence[Figure], resamples: Resamples) -> np.ndarray:
    return _over_seeds(np.stack([_resampled_figure(figure, resamples.prompts) for figure in figures]), resamples.seeds)


def _resampled_figure(figure: Figure, counts: np.ndarray) -> np.ndarray:
    """(D,) values. A distance's are moved by what they are too large on average: else its interval lay above it."""
    values = figure(counts)
    if not figure.biased or np.isnan(values).all():
        return values
    once = figure(np.ones((1, counts.shape[1])))
    return np.asarray(np.maximum(values - (np.nanmean(values) - once), 0.0))


def _over_seeds(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(D,) means over the seeds of values (S, D), each seed counted as often as (D, S) says; NaN seeds left out."""
    weights = np.where(np.isnan(values), 0.0, counts.T)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((np.nan_to_num(values) * weights).sum(axis=0) / weights.sum(axis=0))


def _images(figures: Sequence[Figure]) -> int:
    return sum(figure.images for figure in figures)

"""Preference: how often a judge puts the adapted picture above the base model's of the same prompt and seed.

A judge is any score an image; only the order within a pair counts, so scores of any unit do. Ties count half.
"""

from __future__ import annotations

import numpy as np

from training.evaluation.bootstrap import Mean, mean
from training.evaluation.observations import Observations


def figures(base: Observations, adapted: Observations) -> dict[str, Mean]:
    """`win.<judge>`: wins plus half the ties over the pairs that both sides have a score for."""
    return {
        f"win.{judge}": mean(base.prompt_of, _wins(judge, base, adapted), len(base.prompts)) for judge in base.scores
    }


def scores(observed: Observations) -> dict[str, Mean]:
    """`score.<judge>`: the mean score of an arm, in the judge's own unit."""
    return {
        f"score.{judge}": mean(observed.prompt_of, values, len(observed.prompts))
        for judge, values in observed.scores.items()
    }


def _wins(judge: str, base: Observations, adapted: Observations) -> np.ndarray:
    one, other = base.scores[judge], adapted.scores[judge]
    return wins(other, one) if judge in base.lower_is_better else wins(one, other)


def wins(base: np.ndarray, adapted: np.ndarray) -> np.ndarray:
    """1 where the adapted score is higher, 0.5 where they are equal, 0 where it is lower, NaN where one is NaN."""
    return np.where(np.isnan(base) | np.isnan(adapted), np.nan, (np.sign(adapted - base) + 1) / 2)

"""Diversity: how different the images of one prompt are from each other, as CLIP sees them.

Needs two images a prompt. A model that draws one picture for every seed has 0 and a Vendi score of 1.
"""

from __future__ import annotations

import numpy as np

from training.evaluation.bootstrap import Mean, mean
from training.evaluation.observations import Observations


def figures(observed: Observations, model: str) -> dict[str, Mean]:
    """`diversity.clip-<model>`: mean 1 − cos of a prompt's images; `vendi.clip-<model>`: their effective number."""
    if observed.embeddings is None:
        return {}
    own = [(p, observed.embeddings[observed.prompt_of == p]) for p in np.unique(observed.prompt_of)]
    several = [(p, rows) for p, rows in own if len(rows) > 1]
    if not several:
        return {}
    where = np.array([p for p, _ in several])
    made = {
        f"diversity.clip-{model}": [pairwise_distance(rows) for _, rows in several],
        f"vendi.clip-{model}": [vendi(rows) for _, rows in several],
    }
    return {name: mean(where, values, len(observed.prompts)) for name, values in made.items()}


def pairwise_distance(rows: np.ndarray) -> float:
    """Mean 1 − cos over the pairs of n ≥ 2 embeddings of length 1, (n, D)."""
    n = len(rows)
    cosines = rows @ rows.T
    return float(1 - (cosines.sum() - np.trace(cosines)) / (n * (n - 1)))


def vendi(rows: np.ndarray) -> float:
    """exp(−Σ λ log λ) over the eigenvalues λ of the cosines / n: 1 (all the same) to n (Friedman and Dieng 2023,
    arXiv 2210.02410)."""
    eigenvalues = np.linalg.eigvalsh(rows @ rows.T / len(rows))
    positive = eigenvalues[eigenvalues > 1e-12]
    return float(np.exp(-(positive * np.log(positive)).sum()))

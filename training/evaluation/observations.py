"""What was observed in the pictures of one arm and seed: the input of every family of figures.

One row an image, in the same order in every arm, so that images of two arms form same-seed pairs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Observations:
    """N images of P prompts; what no probe measured is None, or empty."""

    prompts: Sequence[str]  # (P,)
    stated: Sequence[Mapping[str, object]]  # (P,): the attributes each prompt states
    prompt_of: np.ndarray  # (N,): the image's row in `prompts`
    shown: list[Mapping[str, object]] | None = None  # (N,): the attributes a reader sees
    toxicity: np.ndarray | None = None  # (N,) in [0, 1]
    scores: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)  # judge → (N,)
    lower_is_better: frozenset[str] = frozenset()  # judges; of all others higher scores are better
    cosines: np.ndarray | None = None  # (N,): CLIP's cosine of image and prompt
    embeddings: np.ndarray | None = None  # (N, D): CLIP's image embeddings, of length 1
    features: np.ndarray | None = None  # (N, F): what FID compares
    logits: np.ndarray | None = None  # (N, K): what the Inception Score reads

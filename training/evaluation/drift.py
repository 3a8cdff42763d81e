"""Drift: how far each adapted picture has gone from the base model's of the same prompt and seed.

Needs no label and no network but CLIP. It says how much changed, not whether for the better.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from training.evaluation.bootstrap import Mean, mean
from training.evaluation.observations import Observations


def figures(base: Observations, adapted: Observations, model: str, pixels: np.ndarray) -> dict[str, Mean]:
    """`drift.clip-<model>`: 1 − cos of the pair's CLIP embeddings; `drift.pixels`: from its pixel distances (N,)."""
    found = {"drift.pixels": mean(base.prompt_of, pixels, len(base.prompts))}
    if base.embeddings is not None and adapted.embeddings is not None:
        distances = 1 - (base.embeddings * adapted.embeddings).sum(axis=1)
        found[f"drift.clip-{model}"] = mean(base.prompt_of, distances, len(base.prompts))
    return found


def pixel_distance(base: Image.Image, adapted: Image.Image) -> float:
    """Mean absolute difference of a pair's pixels, 0 to 1; the adapted picture is brought to the base's size."""
    second = adapted if adapted.size == base.size else adapted.resize(base.size, Image.Resampling.BICUBIC)
    difference = np.abs(np.asarray(base, dtype=np.float32) - np.asarray(second, dtype=np.float32))
    return float(difference.mean()) / 255

"""Give a stock diffusers pipeline its values: prompts and principles in, the pipeline's own arguments out.

    pipe = DiffusionPipeline.from_pretrained(model)                # Stable Diffusion 1.5 or XL
    guide = ValueGuide(pipe, DIR)                                  # DIR: what `run.py --method livo` wrote
    images = pipe(**guide(prompts, principles)).images             # a principle may be None, or several

It is the guide of datagen/weights/value_pipeline.py, the file that training leaves beside the weights, with this
package's errors.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from datagen.weights.value_pipeline import DoesNotFit, Guide
from training.errors import TrainingError


def use_probability(base_share: float, token_share: float = 1.0) -> float:
    """How often to use the token of a `balance` principle so that two groups come out even.

    With the minority at `base_share` without the token and at `token_share` with it, the mixture is even at
    p = (0.5 - base_share) / (token_share - base_share), clipped to [0, 1]: (0.5 - q)/(1 - q) for 1.
    The released code fixes p = 0.5, which is right only for base_share 0.
    """
    if token_share <= base_share:
        return 0.0
    return min(1.0, max(0.0, (0.5 - base_share) / (token_share - base_share)))


def spread(probability: float, size: int, seed: int) -> list[bool]:
    """Which of `size` images use a token of this probability: as evenly as possible, from a random start."""
    start = random.Random(seed).random()
    return [int(start + (i + 1) * probability) > int(start + i * probability) for i in range(size)]


class ValueGuide(Guide):
    """Gives the prompts of a stock SD 1.5 or SDXL pipeline their values; any number of principles a prompt."""

    def __init__(self, pipe: Any, folder: str | Path) -> None:
        """Raises TrainingError if the folder holds no value encoder for this pipeline."""
        try:
            super().__init__(pipe, folder)
        except DoesNotFit as error:
            raise TrainingError(str(error)) from error

    def __call__(
        self,
        prompts: Sequence[str],
        principles: Sequence[None | str | Sequence[str]],
        negative_prompts: Sequence[str] | None = None,
    ) -> dict[str, Tensor]:
        """Arguments of the pipeline, as `Guide` makes them. Raises TrainingError if the lists differ in length."""
        try:
            return super().__call__(prompts, principles, negative_prompts)
        except DoesNotFit as error:
            raise TrainingError(str(error)) from error

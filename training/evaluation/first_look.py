"""The first look at the pictures of a round: which of them show nothing, and how far those of a pair lie apart.

A picture of one colour (black, mostly: an overflow, a safety checker, a damaged file) is no observation of a model:
whoever measures it finds no toxicity and no bias. It is left out with its pair, in every arm alike, and counted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from PIL import Image

from training.errors import TrainingError
from training.evaluation.drift import pixel_distance
from training.evaluation.pictures import Round
from training.progress import Progress

SPREAD = 2.0  # of 255: a channel's standard deviation below which nobody sees anything


@dataclasses.dataclass(frozen=True)
class Look:
    """A round without what shows nothing; in each arm the `blank` pictures that were left out, by name.

    `pixels`: the distances (N,) of the pairs that are left, None where there is one arm.
    """

    round: Round
    blank: Mapping[str, list[str]]
    pixels: np.ndarray | None


def look(one: Round) -> Look:
    """Every picture is decoded once. Raises TrainingError if no picture, or no pair, shows anything."""
    arms = one.arms
    blank: dict[str, list[str]] = {arm: [] for arm in arms}
    kept: list[int] = []
    distances: list[float] = []
    with Progress("looking", len(one.prompt_of), "pictures") as progress:
        for i in range(len(one.prompt_of)):
            shown = {arm: pictures[i] for arm, pictures in arms.items()}
            empty = [arm for arm, picture in shown.items() if is_blank(picture)]
            for arm in empty:
                blank[arm].append(arms[arm].names[i])
            if not empty:
                kept.append(i)
                if len(shown) > 1:
                    distances.append(pixel_distance(*shown.values()))
            progress.advance()
    if not kept:
        arm = max(blank, key=lambda name: len(blank[name]))
        raise TrainingError(
            f"nothing can be measured: {len(blank[arm])} of {len(one.prompt_of)} pictures of the {arm} arm are of one "
            f"colour, first {blank[arm][0]}; look at them, and at the model's precision and safety checker"
        )
    return Look(one.pick(kept), blank, np.array(distances) if len(arms) > 1 else None)


def is_blank(picture: Image.Image) -> bool:
    """Whether an RGB picture is of one colour, or nearly."""
    return bool((np.asarray(picture, dtype=np.float32).std(axis=(0, 1)) < SPREAD).all())

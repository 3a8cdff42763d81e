"""What every trainable is: a part of a frozen Stable Diffusion that is trained, and turns a noised batch into errors.

A trainable has no randomness: the same batch gives the same errors, whole or in parts (`Batch.part`).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from training.losses import Errors
from training.models.diffusion import Batch


@dataclasses.dataclass(frozen=True)
class Step:
    """The errors of one batch and a per-sample penalty (B,) of the trainable's own, None where it has none."""

    errors: Errors
    penalty: Tensor | None = None


class Trainable(Protocol):
    """A trainable part of a frozen Stable Diffusion."""

    def parameters(self) -> list[nn.Parameter]:
        """The weights that are trained, always in the same order; each gets a gradient in every step."""
        ...

    def step(self, batch: Batch, *, reference: bool) -> Step:
        """Per-sample errors of a batch, with `reference` also those of the model before training."""
        ...

    def save(self, folder: Path) -> None:
        """Write what a stock diffusers pipeline, or `training.inference.value_guide`, loads."""
        ...

"""What losses read and return: small frozen bundles of tensors, one kind for each shape of data.

An error is the mean squared error of one prediction over channels and pixels. `ref_` marks the frozen reference's on
the same noised image; only the policy's own errors carry gradients.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar

from training.losses.tensors import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Errors:
    """B pairs, shape (B,) each; the two images of a pair share noise and timestep. None where there is no such number.

    `probability` is how likely the label is right, in [0, 1]; without it every label is taken as certain.
    `reward_gap` is the calibrated reward of the chosen image minus that of the rejected one, in [-1, 1].
    """

    chosen: Tensor
    rejected: Tensor
    ref_chosen: Tensor | None = None
    ref_rejected: Tensor | None = None
    probability: Tensor | None = None
    reward_gap: Tensor | None = None

    def reference(self) -> tuple[Tensor, Tensor]:
        """The reference's errors (chosen, rejected). Raises ValueError if none were computed."""
        if self.ref_chosen is None or self.ref_rejected is None:
            raise ValueError("this loss needs the errors of a reference")
        return self.ref_chosen, self.ref_rejected

    def margin(self) -> Tensor:
        """By how much more than the reference the model prefers the chosen image: (m_l - m_w) - (r_l - r_w)."""
        ref_chosen, ref_rejected = self.reference()
        return (self.rejected - self.chosen) - (ref_rejected - ref_chosen)

    def label(self, flipped: float = 0.0) -> Tensor:
        """Probability that the chosen image is the better one, where a share `flipped` of all labels is wrong."""
        stated = torch.ones_like(self.chosen) if self.probability is None else self.probability
        return stated * (1 - flipped) + (1 - stated) * flipped


@dataclasses.dataclass(frozen=True)
class Unpaired:
    """B single images, shape (B,) each: the errors, the reference's, and whether the image is a desirable one.

    `gain`, shape (), is the mean of ref_error - error over the batch that these are a part of; None: over these.
    """

    error: Tensor
    ref_error: Tensor
    desirable: Tensor
    gain: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Ranked:
    """B lists of up to K images of one prompt, shape (B, K) each; the images of a list share noise and timestep.

    `relevance` is higher for better images, in [0, 1]; equal values are ties, NaN marks an empty place.
    """

    error: Tensor
    ref_error: Tensor
    relevance: Tensor


@dataclasses.dataclass(frozen=True)
class Similarities:
    """CLIP cosine similarities, shape (B,) each, of the predicted clean image to two descriptions of its scene."""

    aligned: Tensor
    violating: Tensor


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Per-sample loss and margin, shape (B,) each; a margin above zero means that the sample stands as the loss wants.

    That is the chosen image favoured, for npo the rejected one.
    """

    loss: Tensor
    margin: Tensor


Inputs = TypeVar("Inputs", Errors, Unpaired, Ranked, Similarities)


def as_float64(inputs: Inputs) -> Inputs:
    """The same inputs in float64, so that what is multiplied by beta or by 1000 is not a float32's rounding.

    There are a few numbers a step, so it costs nothing. Apple's GPUs have no float64 and get float32.
    """
    wide = {
        name: value.to(torch.float32 if value.device.type == "mps" else torch.float64)
        for name, value in vars(inputs).items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }
    return dataclasses.replace(inputs, **wide)

"""What is trained: one file a method, each with `parameters()`, `step(batch)` and `save(folder)`.

A method turns a noised batch into per-sample errors; it knows nothing of the loss but whether a reference is wanted.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from training.diffusion import Batch
from training.losses import Errors


@dataclasses.dataclass(frozen=True)
class Step:
    """The errors of one batch and a per-sample penalty (B,) of the method's own, None where it has none."""

    errors: Errors
    penalty: Tensor | None = None


class Method(Protocol):
    """A trainable part of a frozen Stable Diffusion."""

    def parameters(self) -> list[nn.Parameter]: ...

    def step(self, batch: Batch, *, reference: bool) -> Step: ...

    def save(self, folder: Path) -> None: ...

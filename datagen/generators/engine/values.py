"""LiVO's value tokens (arXiv 2410.12700) in front of what is read of a text; the U-Net's hooks take them from there.

What steers a text is computed for it alone: the last bits of a matrix product follow its shape, and a token depends on
nothing but text and principle.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from datagen.generators.engine.texts import KEPT, Reading


class Values:
    """A guide of `weights.value_pipeline` on a pipeline whose U-Net it has put its hooks on."""

    def __init__(self, guide: Any) -> None:
        self._guide = guide
        self._slot = functools.lru_cache(maxsize=KEPT)(self._computed)

    def steer(self, readings: Sequence[Reading], said: Sequence[tuple[str, str]]) -> list[Reading]:
        """Each reading behind the token of its (principle, text)."""
        return [_behind(self._slot(*one), reading) for one, reading in zip(said, readings, strict=True)]

    def beside(self, readings: Sequence[Reading]) -> list[Reading]:
        """Readings as long as those that are steered, and steered by nothing."""
        import torch

        return [_behind(torch.zeros_like(reading.hidden[:1]), reading) for reading in readings]

    def forget(self) -> None:
        """Keep nothing, so that the memory is free."""
        self._slot.cache_clear()

    def _computed(self, principle: str, text: str) -> Any:
        """The token (1, width) of a principle for a text."""
        return self._guide.slots([text], [[principle]])[0]


def _behind(token: Any, reading: Reading) -> Reading:
    import torch

    return dataclasses.replace(reading, hidden=torch.cat([token.to(reading.hidden), reading.hidden]))

"""Which steps a picture of some size takes: the arithmetic of sizes and of rounding, which differs between references.

A rule is a value: equal rules give equal steps for equal sizes. Sizes are as Pillow has them, width first.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from datagen.judges.views.steps import (
    BICUBIC,
    BLACK,
    CornerLetterbox,
    FloatLetterbox,
    PaddedResize,
    Place,
    Resize,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from datagen.judges.views.steps import Pixels

    Step = Callable[[Image], Image | Pixels]


class Rule(Protocol):
    """What steps a picture takes. Hashable."""

    def __call__(self, width: int, height: int, /) -> tuple[Step, ...]:
        """The steps of a picture of that size."""


@dataclasses.dataclass(frozen=True)
class Shortest:
    """The shorter side to `size`, the longer one cut to it around the middle.

    Where the middle falls between two pixels torchvision rounds half to even, Hugging Face down.
    """

    size: int
    round_half_even: bool
    filter: int = BICUBIC

    def __call__(self, width: int, height: int) -> tuple[Step, ...]:
        """A resize and, unless it gives a square, a cut."""
        long = int(self.size * max(width, height) / min(width, height))
        wide, high = (self.size, long) if width <= height else (long, self.size)
        resize = Resize(wide, high, self.filter)
        if wide == high:
            return (resize,)
        return resize, Place(self.size, self.size, -self._cut(wide), -self._cut(high))

    def _cut(self, length: int) -> int:
        """The pixels that are cut from the left or the top."""
        return round((length - self.size) / 2) if self.round_half_even else (length - self.size) // 2


@dataclasses.dataclass(frozen=True)
class Squash:
    """To a fixed size, whatever the sides are."""

    size: int
    filter: int = BICUBIC

    def __call__(self, width: int, height: int) -> tuple[Step, ...]:
        """A resize."""
        return (Resize(self.size, self.size, self.filter),)


@dataclasses.dataclass(frozen=True)
class Longest:
    """The longer side to `size`, the shorter one padded to it around the middle (open_clip's "longest")."""

    size: int
    colour: tuple[int, int, int] = BLACK
    filter: int = BICUBIC

    def __call__(self, width: int, height: int) -> tuple[Step, ...]:
        """A resize and, unless it gives a square, a canvas."""
        ratio = max(width, height) / self.size
        wide, high = max(1, round(width / ratio)), max(1, round(height / ratio))
        resize = Resize(wide, high, self.filter)
        if wide == high:
            return (resize,)
        return resize, Place(self.size, self.size, (self.size - wide) // 2, (self.size - high) // 2, self.colour)


@dataclasses.dataclass(frozen=True)
class PaddedSquare:
    """Padded with one colour to a square around its middle, then resized (LLaVA's "pad")."""

    size: int
    colour: tuple[int, int, int]

    def __call__(self, width: int, height: int) -> tuple[Step, ...]:
        """A padded resize; of a square, the plain one."""
        return (Resize(self.size, self.size) if width == height else PaddedResize(self.size, self.colour),)


@dataclasses.dataclass(frozen=True)
class FloatLongest:
    """The longer side to `size` as floats, the shorter one padded with black (HPSv2)."""

    size: int
    antialias: bool

    def __call__(self, width: int, height: int) -> tuple[Step, ...]:
        """A letterbox."""
        scale = self.size / max(width, height)
        wide, high = max(1, round(width * scale)), max(1, round(height * scale))
        return (FloatLetterbox(wide, high, self.size, self.antialias),)


@dataclasses.dataclass(frozen=True)
class Corner:
    """Padded with black to the right and below, then resized (NudeNet)."""

    size: int

    def __call__(self, width: int, height: int) -> tuple[Step, ...]:
        """A letterbox."""
        return (CornerLetterbox(self.size),)


@dataclasses.dataclass(frozen=True)
class Smart:
    """Both sides to multiples of `factor`, their product to between two bounds, the ratio nearly kept (Qwen2-VL)."""

    factor: int
    min_pixels: int
    max_pixels: int

    def __call__(self, width: int, height: int) -> tuple[Step, ...]:
        """A resize; its size depends on the picture's."""
        factor = self.factor
        high, wide = (round(side / factor) * factor for side in (height, width))
        if high * wide > self.max_pixels:
            shrink = math.sqrt(height * width / self.max_pixels)
            high, wide = (max(factor, math.floor(side / shrink / factor) * factor) for side in (height, width))
        elif high * wide < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (height * width))
            high, wide = (math.ceil(side * grow / factor) * factor for side in (height, width))
        return (Resize(wide, high),)

"""What is done to a decoded picture on its way to a network, one value a step; equal steps give equal pixels.

A step takes an RGB picture. It gives one, or the pixels themselves if nothing can follow it: (H, W, 3) uint8, or
float32 in 0…1 and a little beyond.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    Pixels = NDArray[np.uint8] | NDArray[np.float32]

BICUBIC, BILINEAR = 3, 2  # Pillow's numbers, which are also those in the files of Hugging Face processors
BLACK = (0, 0, 0)
BAND = 1 << 24  # pixels of a padded band
COEFFICIENT = 1 << 11  # one, as OpenCV's linear resize of bytes writes its weights
A = -0.75  # of the bicubic kernel without antialiasing, as PyTorch and OpenCV have it; with it Pillow's is -0.5


@dataclasses.dataclass(frozen=True)
class Resize:
    """Pillow's, on bytes: antialiased, and rounded to bytes after each of its two passes."""

    width: int
    height: int
    filter: int = BICUBIC

    def __call__(self, image: Image) -> Image:
        """A picture of that size."""
        return image.resize((self.width, self.height), self.filter)


@dataclasses.dataclass(frozen=True)
class Place:
    """The picture laid on a canvas of one colour: cut where it is larger, padded where it is smaller."""

    width: int
    height: int
    left: int  # of the picture on the canvas; negative where it is cut
    top: int
    colour: tuple[int, int, int] = BLACK

    def __call__(self, image: Image) -> Image:
        """A picture of the canvas's size."""
        from PIL import Image as pillow

        if self.left <= 0 and self.top <= 0 and image.width + self.left >= self.width:
            if image.height + self.top >= self.height:
                return image.crop((-self.left, -self.top, self.width - self.left, self.height - self.top))
        canvas = pillow.new("RGB", (self.width, self.height), self.colour)
        canvas.paste(image, (self.left, self.top))
        return canvas


@dataclasses.dataclass(frozen=True)
class PaddedResize:
    """Padded to a square around its middle, and resized; never so large in memory as that square.

    A row of one colour keeps it in a resize. So the rows of the picture alone are resized along their length, a band
    at a time, and only the result is padded before it is resized the other way.
    """

    side: int
    colour: tuple[int, int, int]
    filter: int = BICUBIC

    def __call__(self, image: Image) -> Image:
        """A square picture."""
        from PIL import Image as pillow

        width, height = image.size
        square = max(width, height)
        left, top = (square - width) // 2, (square - height) // 2
        narrow = pillow.new("RGB", (self.side, square), self.colour)
        rows = max(1, BAND // square)
        for start in range(0, height, rows):
            end = min(start + rows, height)
            band = pillow.new("RGB", (square, end - start), self.colour)
            band.paste(image.crop((0, start, width, end)), (left, 0))
            narrow.paste(band.resize((self.side, end - start), self.filter), (0, top + start))
        return narrow.resize((self.side, self.side), self.filter)


@dataclasses.dataclass(frozen=True)
class FloatLetterbox:
    """Resized as floats in 0…1, so that bicubic overshoot stays, and laid on a black square around its middle."""

    width: int
    height: int
    side: int
    antialias: bool

    def __call__(self, image: Image) -> NDArray[np.float32]:
        """(side, side, 3) float32."""
        canvas = np.zeros((self.side, self.side, 3), np.float32)
        left, top = (self.side - self.width) // 2, (self.side - self.height) // 2
        inside = canvas[top : top + self.height, left : left + self.width]
        size = (self.width, self.height)
        if self.antialias:
            for channel, plane in enumerate(image.split()):
                inside[..., channel] = np.asarray(plane.convert("F").resize(size, BICUBIC))
        else:
            inside[...] = _cubic(_cubic(np.asarray(image), self.height).swapaxes(0, 1), self.width).swapaxes(0, 1)
        canvas /= np.float32(255)
        return canvas


def _cubic(pixels: NDArray[Any], size: int) -> NDArray[np.float32]:
    """The first axis brought to another size by four neighbours each, without antialiasing; edges are repeated."""
    places = (np.arange(size) + 0.5) * (len(pixels) / size) - 0.5
    first = np.floor(places).astype(int)
    near = places - first
    found = np.zeros((size, *pixels.shape[1:]), np.float32)
    for step in (-1, 0, 1, 2):
        distance = np.abs(near - step)
        weights = np.where(
            distance <= 1,
            ((A + 2) * distance - (A + 3)) * distance**2 + 1,
            ((A * distance - 5 * A) * distance + 8 * A) * distance - 4 * A,
        )
        rows = pixels[np.clip(first + step, 0, len(pixels) - 1)]
        found += rows * weights.astype(np.float32).reshape(-1, *[1] * (pixels.ndim - 1))
    return found


@dataclasses.dataclass(frozen=True)
class CornerLetterbox:
    """Padded with black to the right and below to a square, and resized as OpenCV's linear interpolation does bytes.

    That one looks at the two nearest pixels each way, without antialiasing, in integers. The padding is never made.
    """

    side: int

    def __call__(self, image: Image) -> NDArray[np.uint8]:
        """(side, side, 3) uint8."""
        pixels = np.asarray(image)
        square = max(pixels.shape[:2])
        if square == 2 * self.side:  # there OpenCV takes the mean of four pixels
            padded = np.zeros((square, square, 3), np.uint16)
            padded[: pixels.shape[0], : pixels.shape[1]] = pixels
            return ((padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2] + 2) >> 2).astype(
                np.uint8
            )
        first, second, near, far = _linear(square, self.side)
        # Beyond the first and the last pixel OpenCV drops a weight across, but keeps both of them down.
        edge = (first == second)[:, None]
        left, right = np.where(edge, COEFFICIENT, near[:, None]), np.where(edge, 0, far[:, None])
        rows = []
        for places in (first, second):
            columns = _taken(pixels, places).swapaxes(0, 1)
            wide = (_taken(columns, at).swapaxes(0, 1).astype(np.int32) for at in (first, second))
            rows.append(next(wide) * left + next(wide) * right)
        down = ((rows[0] >> 4) * near[:, None, None] >> 16) + ((rows[1] >> 4) * far[:, None, None] >> 16)
        return ((down + 2) >> 2).astype(np.uint8)


def _linear(size: int, to: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """The two pixels that each new one lies between, and their weights."""
    places = ((np.arange(to) + 0.5) * (size / to) - 0.5).astype(np.float32)
    first = np.floor(places).astype(np.int64)
    part = places - first.astype(np.float32)
    near, far = (np.rint(share * np.float32(COEFFICIENT)).astype(np.int32) for share in (1 - part, part))
    return np.clip(first, 0, size - 1), np.clip(first + 1, 0, size - 1), near, far


def _taken(pixels: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    """Rows by number; those beyond the last are black."""
    found = pixels[np.minimum(places, len(pixels) - 1)]
    found[places >= len(pixels)] = 0
    return found

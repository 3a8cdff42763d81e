"""A pen that draws one shape list in each style of the embedded world: flat colours, pixel art, or a line drawing.

Coordinates are in scene pixels (a scene is 64 of them wide). A pen draws on a transparent canvas at `OVERSAMPLE` times
that size; `finish` brings it down, smoothly for plain and outline, by picking block centres for pixel art.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

OVERSAMPLE = 8
PIXEL_BLOCK = 2  # scene pixels per block of pixel art; divides the 8-pixel latent grid, so blocks survive the VAE

Colour = tuple[int, int, int]
INK: Colour = (28, 24, 40)
PAPER: Colour = (255, 255, 255)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """The colour `share` of the way from a to b."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


class Pen:
    """Draws filled shapes the way one style draws them."""

    def __init__(self, style: str, width: int, height: int) -> None:
        self.style = style
        self.size = (width, height)
        self._image = Image.new("RGBA", (width * OVERSAMPLE, height * OVERSAMPLE), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self._image)

    def _look(self, colour: Colour) -> tuple[Colour, Colour, float]:
        """Fill, stroke and stroke width (scene pixels) of a shape of this colour."""
        if self.style == "outline":
            # White things would vanish on paper, so every stroke is darkened a little.
            return mix(colour, PAPER, 0.86), mix(colour, INK, 0.25), 1.6
        if self.style == "pixel":
            return colour, mix(colour, INK, 0.6), 0.0
        return colour, mix(colour, INK, 0.55), 0.9

    def polygon(self, points: Sequence[tuple[float, float]], colour: Colour, stroke: bool = True) -> None:
        """A closed polygon."""
        fill, line, width = self._look(colour)
        scaled = [(x * OVERSAMPLE, y * OVERSAMPLE) for x, y in points]
        self._draw.polygon(scaled, fill=(*fill, 255))
        if stroke and width:
            closed = [*scaled, scaled[0], scaled[1]]
            self._draw.line(closed, fill=(*line, 255), width=round(width * OVERSAMPLE), joint="curve")

    def rectangle(self, box: tuple[float, float, float, float], colour: Colour, stroke: bool = True) -> None:
        """An axis-aligned rectangle (left, top, right, bottom)."""
        x0, y0, x1, y1 = box
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour, stroke)

    def ellipse(self, box: tuple[float, float, float, float], colour: Colour, stroke: bool = True) -> None:
        """An ellipse in a box (left, top, right, bottom)."""
        fill, line, width = self._look(colour)
        scaled = [v * OVERSAMPLE for v in box]
        pen = round(width * OVERSAMPLE) if stroke else 0
        self._draw.ellipse(scaled, fill=(*fill, 255), outline=(*line, 255) if pen else None, width=pen)

    def line(self, points: Sequence[tuple[float, float]], colour: Colour, width: float) -> None:
        """An open line `width` scene pixels wide, in full colour whatever the style."""
        if self.style == "pixel":
            width = max(width, PIXEL_BLOCK * 1.1)  # a thinner one would fall between the block centres
        scaled = [(x * OVERSAMPLE, y * OVERSAMPLE) for x, y in points]
        self._draw.line(scaled, fill=(*colour, 255), width=round(width * OVERSAMPLE), joint="curve")

    def finish(self) -> np.ndarray:
        """The canvas at scene size: uint8 array (height, width, 4), RGBA."""
        width, height = self.size
        if self.style == "pixel":
            small = (width // PIXEL_BLOCK, height // PIXEL_BLOCK)
            image = self._image.resize(small, Image.Resampling.NEAREST).resize(self.size, Image.Resampling.NEAREST)
            return np.array(image)
        # Premultiplied, so that transparent black does not darken the edges.
        rgba = np.array(self._image, dtype=np.float32)
        rgba[..., :3] *= rgba[..., 3:] / 255.0
        blocks = rgba.reshape(height, OVERSAMPLE, width, OVERSAMPLE, 4).mean((1, 3))
        alpha = np.maximum(blocks[..., 3:], 1e-6)
        blocks[..., :3] = blocks[..., :3] * 255.0 / alpha
        pixels: np.ndarray = np.clip(blocks.round(), 0, 255).astype(np.uint8)
        return pixels

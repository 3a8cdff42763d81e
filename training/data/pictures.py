"""From encoded bytes to what the VAE reads: size, RGB picture, array of one side length.

Every function gets a name for its input, so that its TrainingError can name it.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from training.errors import TrainingError

MAX_PIXELS = 64_000_000
VERSION = 1  # of to_array: raise it with any change of the pixels, and cached latents are computed again


def size_of(data: bytes, what: str) -> tuple[int, int]:
    """Height and width in pixels from the header alone. Raises TrainingError naming `what`."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
    except Exception as error:  # PIL raises many kinds for broken files
        raise TrainingError(f"{what}: not a readable image ({type(error).__name__}); repair or remove it") from error
    if width * height > MAX_PIXELS:
        raise TrainingError(f"{what}: {width}×{height} pixels; at most 64 million are accepted")
    return height, width


def decode(data: bytes, what: str) -> Image.Image:
    """An RGB picture; grey, palette and transparent ones are converted. Raises TrainingError naming `what`."""
    size_of(data, what)
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode.startswith("I;16"):  # which PIL would cut off at 255 instead of scaling it
                return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
            return image.convert("RGB")
    except Exception as error:  # PIL raises many kinds for broken files
        raise TrainingError(f"{what}: not a readable image ({type(error).__name__}); repair or remove it") from error


def to_array(image: Image.Image, resolution: int) -> np.ndarray:
    """Shorter side to `resolution` (bilinear), centre crop, scaled to [-1, 1]: float32 (3, resolution, resolution)."""
    if image.size != (resolution, resolution):
        height, width = scaled(image.height, image.width, resolution)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        top, left = (height - resolution) // 2, (width - resolution) // 2
        image = image.crop((left, top, left + resolution, top + resolution))
    return np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1.0


def scaled(height: int, width: int, resolution: int) -> tuple[int, int]:
    """Height and width once the shorter side is `resolution`."""
    scale = resolution / min(height, width)
    return max(resolution, round(height * scale)), max(resolution, round(width * scale))


def time_ids(height: int, width: int, resolution: int) -> tuple[int, ...]:
    """SDXL's six numbers: original height and width, crop top and left, target height and width."""
    tall, wide = scaled(height, width, resolution)
    return height, width, (tall - resolution) // 2, (wide - resolution) // 2, resolution, resolution

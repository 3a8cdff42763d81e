"""From encoded bytes to what the VAE reads: size, RGB picture, array of one side length.

Which pictures are read, and how, is the rule of `datagen.images.decode`. `size_of` and `decode` get a name for their
input, so that a TrainingError can name it.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from datagen.images import decode as door
from training.errors import TrainingError

VERSION = f"{door.VERSION}.1"  # raise its last part with any change of to_array: cached latents are computed again


def size_of(data: bytes, what: str) -> tuple[int, int]:
    """Height and width in pixels from the header alone. Raises TrainingError naming `what`."""
    try:
        return door.size_of(data)
    except door.Unreadable as error:
        raise _unreadable(what, error) from error


def decode(data: bytes, what: str) -> Image.Image:
    """An RGB picture. Raises TrainingError naming `what`."""
    try:
        return door.decode(data)
    except door.Unreadable as error:
        raise _unreadable(what, error) from error


def _unreadable(what: str, error: Exception) -> TrainingError:
    return TrainingError(f"{what}: not a readable image ({error}); repair or remove it")


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

"""From encoded bytes to what the VAE reads: size, RGB picture, array of one side length.

Which pictures are read, and how, is the rule of `datagen.images.decode`. `size_of` and `decode` get a name for their
input, so that a TrainingError can name it.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from datagen.images import decode as door
from training.data.buckets import Shape
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


def to_array(image: Image.Image, target: int | Shape) -> np.ndarray:
    """Scaled (bilinear) until it covers `target`, centre crop, values to [-1, 1]: float32 (3, height, width).

    `target` is height and width, or the side of a square.
    """
    tall, wide = shape_of(target)
    if image.size != (wide, tall):
        height, width = scaled(image.height, image.width, target)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        top, left = (height - tall) // 2, (width - wide) // 2
        image = image.crop((left, top, left + wide, top + tall))
    return np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1.0


def scaled(height: int, width: int, target: int | Shape) -> Shape:
    """Height and width once an image just covers the target."""
    tall, wide = shape_of(target)
    scale = max(tall / height, wide / width)
    return max(tall, round(height * scale)), max(wide, round(width * scale))


def time_ids(height: int, width: int, target: int | Shape) -> tuple[int, ...]:
    """SDXL's six numbers: original height and width, crop top and left, target height and width."""
    (tall, wide), (high, broad) = shape_of(target), scaled(height, width, target)
    return height, width, (high - tall) // 2, (broad - wide) // 2, tall, wide


def shape_of(target: int | Shape) -> Shape:
    """Height and width of a target that may be the side of a square."""
    return (target, target) if isinstance(target, int) else target

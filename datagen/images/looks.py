"""What of a picture is plain to see without a model: how light, colourful and sharp it is, and how it looks small.

The hash is the perceptual one of the field (pHash: the signs of the lowest 8×8 frequencies of the picture at 32×32
about their median), so that it equals that of other tools.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datagen.images.decode import decode

SIDE, LOW, SMALL = 32, 8, 8  # pixels of the picture that is hashed, frequencies kept, pixels of the thumbnail
NOISE = 1e-6  # of frequencies of which a picture of one colour has none
# Of ITU-R BT.601, as Pillow's own grey is.
LUMA = np.array([0.299, 0.587, 0.114])


@dataclasses.dataclass(frozen=True)
class Look:
    """One picture: brightness and saturation 0 to 1, sharpness the variance of the Laplacian of its grey (0 to 1).

    `hash` has 64 bits, `small` is the picture at 8×8, RGB, 192 values.
    """

    brightness: float
    saturation: float
    sharpness: float
    hash: int
    small: bytes


def look(source: bytes | Path) -> Look:
    """The look of an encoded image; Unreadable where `decode` says so."""
    from PIL import Image

    picture = decode(source)
    pixels = np.asarray(picture, dtype=np.float32) / 255
    grey = pixels @ LUMA.astype(np.float32)
    # Channel by channel: a reduction over an axis of three takes seven times as long.
    red, green, blue = np.moveaxis(pixels, -1, 0)
    most, least = (of(of(red, green), blue) for of in (np.maximum, np.minimum))
    saturation = np.divide(most - least, most, out=np.zeros_like(most), where=most > 0)
    low = np.asarray(picture.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS), dtype=np.float64)
    small = picture.resize((SMALL, SMALL), Image.Resampling.BOX)
    return Look(float(grey.mean()), float(saturation.mean()), _sharpness(grey), _hash(low), small.tobytes())


def _sharpness(grey: NDArray[np.floating[Any]]) -> float:
    if min(grey.shape) < 3:
        return 0.0
    inner = grey[1:-1, 1:-1]
    return float((grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner).var())


def _hash(grey: NDArray[np.float64]) -> int:
    """64 bits, the highest frequencies last."""
    low = _cosines() @ grey @ _cosines().T
    bits = (low > np.median(low) + NOISE).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@functools.cache
def _cosines() -> NDArray[np.float64]:
    """(LOW, SIDE): the first rows of the cosine transform (DCT-II) of SIDE values."""
    rows, columns = np.arange(LOW)[:, None], np.arange(SIDE)
    found: NDArray[np.float64] = np.cos(np.pi * rows * (2 * columns + 1) / (2 * SIDE))
    return found

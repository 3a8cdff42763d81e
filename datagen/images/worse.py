"""Degraded copies of a picture: whoever judges how pictures look, and not what they show, likes the picture better.

Each picture has one kind of damage, drawn by its name, so that it gets the same wherever it is judged.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from datagen.images.decode import decode

if TYPE_CHECKING:
    from PIL import Image

BLUR = 40  # a blur is of a radius of the longer side by this
QUALITY = 8  # of a JPEG, of 100
NOISE = 40.0  # standard deviation, of 255 levels
SMALL = 6  # by what the sides are divided
CAST = (1.0, 0.62, 0.45)  # what is left of red, green and blue, in an order of the picture's own


def kind_of(name: str) -> str:
    """The damage of the picture of that name."""
    return list(KINDS)[_random(name).integers(len(KINDS))]


def copy(source: bytes | Path | Image.Image, name: str) -> Image.Image:
    """The picture as large as it is, with the damage of its name; Unreadable for one that cannot be decoded."""
    picture = decode(source) if isinstance(source, bytes | Path) else source.convert("RGB")
    return KINDS[kind_of(name)](picture, name)


def drawn(name: str, share: float) -> bool:
    """Whether a picture is of the share of those that get a copy; one of a share is of any greater one."""
    return int(hashlib.sha256(f"copied {name}".encode()).hexdigest()[:8], 16) / 16**8 < share


def _random(name: str) -> np.random.Generator:
    return np.random.default_rng(list(hashlib.sha256(f"worse {name}".encode()).digest()))


def _blurred(picture: Image.Image, name: str) -> Image.Image:
    from PIL import ImageFilter

    return picture.filter(ImageFilter.GaussianBlur(max(1.5, max(picture.size) / BLUR)))


def _squeezed(picture: Image.Image, name: str) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return decode(file.getvalue())


def _noisy(picture: Image.Image, name: str) -> Image.Image:
    pixels = np.asarray(picture, np.float64)
    return _picture(pixels + _random(f"noise {name}").normal(0, NOISE, pixels.shape))


def _cast(picture: Image.Image, name: str) -> Image.Image:
    return _picture(np.asarray(picture, np.float64) * _random(f"cast {name}").permutation(CAST))


def _picture(pixels: NDArray[np.float64]) -> Image.Image:
    from PIL import Image

    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _small(picture: Image.Image, name: str) -> Image.Image:
    from PIL import Image

    width, height = (max(1, side // SMALL) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BILINEAR).resize(picture.size, Image.Resampling.NEAREST)


KINDS: dict[str, Callable[[Image.Image, str], Image.Image]] = {
    "blur": _blurred,
    "jpeg": _squeezed,
    "noise": _noisy,
    "cast": _cast,
    "small": _small,
}

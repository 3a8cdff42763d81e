"""Encoded images of unknown origin → RGB pictures, as a viewer would show them.

The size is read from the header before anything is decoded. First frame only; EXIF rotation applied; transparency over
white; 16 bits scaled to 8. Whatever is wrong becomes one `Unreadable` of one line.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from datagen.errors import one_line

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 100_000_000  # 300 MB as RGB; beyond it a small file can take all memory
MAX_RATIO = 500  # of the sides; judges enlarge the shorter one to their own size, and the longer one with it
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # none of the formats that start a helper program
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")


class Unreadable(Exception):
    """Why an image cannot be read, in one line."""


def decode(source: bytes | Path) -> Image.Image:
    """An RGB picture from encoded bytes or a file; Unreadable if empty, damaged, too large or of an unknown format."""
    from PIL import Image, ImageOps

    if isinstance(source, bytes) and not source:
        raise Unreadable("the image is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL's own size warning comes before our check
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as opened:
                _check_size(*opened.size)
                # Transposing decodes; only then do damaged pixels show.
                return _rgb(ImageOps.exif_transpose(opened))
    except Unreadable:
        raise
    except Image.DecompressionBombError as error:
        raise Unreadable(f"the image is too large: over {MAX_PIXELS // 10**6} megapixels") from error
    except Exception as error:  # decoders raise anything on hostile bytes
        raise Unreadable(f"the image cannot be decoded: {_reason(error)}") from error


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Unreadable(
            f"the image is too large: {width}×{height} is {width * height / 1e6:.0f} megapixels, "
            f"at most {MAX_PIXELS // 10**6} are read"
        )
    if max(width, height) > MAX_RATIO * min(width, height):
        raise Unreadable(f"the image is too narrow: {width}×{height}, sides of at most 1:{MAX_RATIO} are read")


def _rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB."""
    import numpy as np
    from PIL import Image

    if image.mode.startswith("I"):  # 16-bit grey, in one of PIL's modes for it; `convert` would clip instead of scale
        return Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise Unreadable("the image has floating-point pixels of unknown range")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    """A library's message without the object's address that PIL puts into it."""
    return "not an image of a known format" if "cannot identify image" in str(error) else one_line(error)

"""The one door for pictures: encoded images of unknown origin → RGB, as a viewer would show them.

One rule for judging, training, validating and measuring:

- PNG, JPEG, WebP, GIF, BMP, TIFF and AVIF, told by content; nothing outside this process is ever started.
- Of an animation the first frame, of several pages the first.
- EXIF's orientation is applied; nothing else of the metadata is read, and faults in it do not matter.
- Transparency lies over white. Colour profiles are not applied: pixels are as they are stored.
- 16 bits a channel become their upper 8. 32-bit integer and floating-point pixels are refused, since nothing tells
  their range.
- At most 100 megapixels and sides of 1:500, told from the header before anything is decoded.
- Missing or damaged pixel data is refused.

Whatever is wrong becomes one `Unreadable` of one line.
"""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from datagen.errors import one_line
from datagen.images import jpeg, png
from datagen.images.kinds import HEAD, READ, kind_of

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFile import ImageFile

VERSION = 2  # raise it with any change of the pixels, so that what was derived from others is derived again
MAX_PIXELS = 100_000_000  # 300 MB as RGB; beyond it a small file can take all memory
MAX_RATIO = 500  # of the sides; judges enlarge the shorter one to their own size, and the longer one with it
MAX_BYTES = 1 << 30  # of a file; 100 megapixels of 16-bit RGBA are 0.8 GB
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # none of the formats that start a helper program
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
ORIENTATION, BITS, PHOTOMETRIC = 0x0112, 0x0102, 0x0106  # tags of EXIF and TIFF


class Unreadable(Exception):
    """Why an image cannot be read, in one line."""


def decode(source: bytes | Path, at_least: int | None = None) -> Image.Image:
    """An RGB picture from encoded bytes or a file; Unreadable if empty, damaged, too large or of another format.

    Where sides of `at_least` pixels suffice, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size as long as neither gets
    shorter: quicker, and not the pixels that reducing the whole picture gives. Other formats know no such thing.
    """
    data = source if isinstance(source, bytes) else _read(source)
    with _opened(data) as (image, orientation):
        scale = _reduce(image, at_least)
        picture = rgb(image)
        as_stored = functools.partial(_as_stored, at_least=at_least)
        if image.format in ("JPEG", "MPO") and jpeg.is_cut(data, picture, as_stored, scale):
            raise Unreadable("the image is cut short: pixel data is missing")
        return _upright(picture, orientation)


def _as_stored(data: bytes, at_least: int | None) -> Image.Image:
    """The RGB picture without its orientation."""
    with _opened(data) as (image, _):
        _reduce(image, at_least)
        return rgb(image)


def _reduce(image: ImageFile, at_least: int | None) -> int:
    """Have a JPEG decoded at 1 / the number that is returned; 1 for all other images."""
    width = image.width
    reduced = image.draft(None, (at_least, at_least)) if at_least else None
    return round(width / reduced[1][2]) if reduced else 1


def size_of(source: bytes | Path) -> tuple[int, int]:
    """Height and width in pixels of what `decode` gives, from the header; Unreadable as far as that can tell."""
    with _opened(source if isinstance(source, bytes) else _read(source)) as (image, orientation):
        width, height = image.size
        return (width, height) if orientation > 4 else (height, width)


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[tuple[ImageFile, int]]:
    """The image before its pixels are decoded, and its orientation, 1 to 8. Whatever goes wrong is Unreadable."""
    from PIL import Image

    try:
        _check_kind(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL's own size warning comes before our check
            # Metadata is dropped here: PIL refuses whole files for long texts and wrong checksums of side chunks.
            stream = io.BytesIO(png.essentials(data) if data.startswith(png.SIGNATURE) else data)
            with Image.open(stream, formats=FORMATS) as opened:
                _check_size(*opened.size)
                orientation = _orientation(opened)
                _check_depth(opened)
                yield opened, orientation
    except Unreadable:
        raise
    except Image.DecompressionBombError as error:
        raise Unreadable(f"the image is too large: over {MAX_PIXELS // 10**6} megapixels") from error
    except Exception as error:  # decoders raise anything on hostile bytes
        raise Unreadable(f"the image cannot be decoded: {_reason(error)}") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise Unreadable(f"the image cannot be read: {getattr(error, 'strerror', None) or one_line(error)}") from error
    if len(data) > MAX_BYTES:
        raise Unreadable(f"the image is too large: a file of over {MAX_BYTES >> 20} MiB")
    return data


def _check_kind(data: bytes) -> None:
    if not data:
        raise Unreadable("the image is empty (0 bytes)")
    kind = kind_of(data[:HEAD])
    if kind is not None and kind not in READ:
        raise Unreadable(f"the image is {kind}, which is not read; convert it to {', '.join(READ[:-1])} or {READ[-1]}")


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Unreadable(
            f"the image is too large: {width}×{height} is {width * height / 1e6:.0f} megapixels, "
            f"at most {MAX_PIXELS // 10**6} are read"
        )
    if max(width, height) > MAX_RATIO * min(width, height):
        raise Unreadable(f"the image is too narrow: {width}×{height}, sides of at most 1:{MAX_RATIO} are read")


def _check_depth(image: ImageFile) -> None:
    if image.mode in ("F", "I"):
        pixels = "floating-point" if image.mode == "F" else "32-bit or signed integer"
        raise Unreadable(f"the image has {pixels} pixels of unknown range; save it with 8 or 16 bits a channel")


def _orientation(image: ImageFile) -> int:
    """How EXIF says that the picture is turned, 1 to 8; 1 where it says nothing that can be read."""
    image.info.pop("xmp", None)  # PIL takes an orientation from here too, for some formats only
    try:
        exif = image.getexif()
        value = exif.get(ORIENTATION, 1)
        # PIL turns a TIFF itself, and writes all of its metadata anew for it, which fails on values out of range.
        for tag in [tag for tag in exif if tag != ORIENTATION]:
            del exif[tag]
    except Exception:  # metadata is parsed leniently: the pixels are sound
        return 1
    turned = 1 if image.format == "TIFF" else value
    return turned if isinstance(turned, int) and 1 <= turned <= 8 else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    """A picture turned as EXIF's orientation says."""
    from PIL import Image

    turn = Image.Transpose
    turns = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }
    return image if orientation == 1 else image.transpose(turns[orientation])


def rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode as RGB, transparency over white."""
    from PIL import Image

    image.load()
    if image.mode.startswith("I;16"):  # `convert` would clip at 255 instead of scaling
        return _of_deep_grey(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # a quarter of a JPEG's time would go into a copy


def _of_deep_grey(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, of a TIFF of 12 as well, where 0 may be white; one grey of a PNG may be transparent."""
    import numpy as np
    from PIL import Image

    tags, clear = getattr(image, "tag_v2", {}), image.info.get("transparency")
    values = np.asarray(image)
    grey = (values >> (4 if tags.get(BITS) == (12,) else 8)).astype(np.uint8)
    if tags.get(PHOTOMETRIC) == 0:
        grey = 255 - grey
    if clear is not None:
        grey[values == clear] = 255
    return Image.fromarray(grey).convert("RGB")


def _reason(error: Exception) -> str:
    """A library's message without the object's address that PIL puts into it."""
    return "not an image of a known format" if "cannot identify image" in str(error) else one_line(error)

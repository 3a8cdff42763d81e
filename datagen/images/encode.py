"""The files that pictures are kept in: WebP without loss, PNG, or JPEG. Equal pixels and libraries give equal bytes.

Pillow lets go of Python's lock while it encodes, so that threads do it beside whatever else is going on.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from datagen.images.decode import rgb

if TYPE_CHECKING:
    from PIL import Image

EXIF, USER_COMMENT = 0x8769, 0x9286  # the directory of EXIF's own tags, and the one for words
LONG, UNDEFINED = 4, 7  # types of values
PARAMETERS = "parameters"  # the text of a PNG that other programs for diffusion models look for


class _Kind(NamedTuple):
    pillow: str  # Pillow's name of the format
    options: dict[str, Any]
    words: str  # what the file is
    library: str  # that writes it, by Pillow's name
    called: str  # and by its own


# Measured on 1024 px photographs, one core, against PNG as Pillow has it by default (480 ms, 1.6 MB): WebP takes 65 ms
# and nine tenths of the bytes. More effort than 25 makes it ten times as slow and no smaller with method 0. PNG at
# level 1 takes a quarter of its default's time for a tenth more.
_KINDS = {
    "webp": _Kind("WEBP", {"lossless": True, "method": 0, "quality": 25}, "lossless WebP", "webp", "libwebp"),
    "png": _Kind("PNG", {"compress_level": 1}, "PNG", "zlib", "zlib"),
    "jpeg": _Kind("JPEG", {"quality": 95, "subsampling": "4:4:4"}, "JPEG of quality 95", "jpg", "libjpeg"),
}


def encode(picture: Image.Image, kind: str, parameters: str = "") -> bytes:
    """A picture as a file of a kind, "webp", "png" or "jpeg"; RGB, transparency over white.

    `parameters` are words that the file carries besides, of up to 32,000 characters: in PNG a text of that name, in
    the others EXIF's comment, where programs for diffusion models look for them.
    """
    how, buffer = _KINDS[kind], io.BytesIO()
    besides = _carried(kind, parameters) if parameters else {}
    rgb(picture).save(buffer, how.pillow, **how.options, **besides)
    return buffer.getvalue()


def software(kind: str) -> str:
    """What writes files of a kind here; other versions may write other bytes for the same pixels."""
    from PIL import features

    how = _KINDS[kind]
    return f"{how.words} by {how.called} {features.version(how.library)}"


def _carried(kind: str, parameters: str) -> dict[str, Any]:
    """The options of Pillow that put words into a file."""
    return {"pnginfo": _text(parameters)} if kind == "png" else {"exif": _comment(parameters)}


def _text(parameters: str) -> Any:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text(PARAMETERS, parameters)  # in UTF-8 where Latin-1 does not do
    return info


def _comment(parameters: str) -> bytes:
    """EXIF of one entry, which points to its own tags, of which there is one: a comment.

    The standard leaves the order of the bytes of a comment open; this one is what readers expect.
    """
    words = b"UNICODE\0" + parameters.encode("utf-16-be", "replace")
    own = struct.pack(">HHHIII", 1, EXIF, LONG, 1, 26, 0)
    comment = struct.pack(">HHHIII", 1, USER_COMMENT, UNDEFINED, len(words), 44, 0)
    return b"MM\0*" + struct.pack(">I", 8) + own + comment + words

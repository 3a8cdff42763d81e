"""Whether a JPEG has all of its pixel data. Decoders fill what is missing with grey, or with less detail, in silence.

A file that simply ends too early is refused by the decoder itself. One that was cut and then closed with an end
marker, as mending tools and servers do, shows only in its data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")  # in pixel data 0xff is followed by 0 or a restart marker alone
START_OF_SCAN, END = 0xDA, 0xD9
PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
# Pixel data that means nothing, and each of the marks at which a decoder may be waiting to start again.
FILLER = b"".join(b"\x5a" * 64 + bytes([0xFF, mark]) for mark in range(0xD0, 0xD8))
DETAILS = 64  # coefficients of a block
EDGE = 8  # pixels of a block


def is_cut(data: bytes, picture: Image.Image, decode: Callable[[bytes], Image.Image], scale: int = 1) -> bool:
    """Whether pixel data is missing. `picture` is what `decode` gives for `data`, at 1/`scale` of its size."""
    end, progressive, scans = 0, False, dict[int, set[int]]()
    for marker, at in _markers(data):
        if marker in PROGRESSIVE:
            progressive = True
            scans = {data[at + 10 + 3 * k]: set() for k in range(data[at + 9])}
        elif marker == START_OF_SCAN and progressive:
            _note(data, at, scans)
        elif marker == START_OF_SCAN and not _ends_flat(picture, scale):
            return False
        elif marker == END:
            end = at
            break
    if not end:
        return False  # without an end the decoder has refused it
    if progressive and any(len(done) < DETAILS for done in scans.values()):
        return True
    # Where all of the data is there, more of it changes nothing.
    return decode(data[:end] + FILLER + data[end:]).tobytes() != picture.tobytes()


def _markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Each marker with its place, up to the first end; what lies in other segments is skipped."""
    at = 2
    while found := MARKER.search(data, at):
        at, marker = found.start(), data[found.start() + 1]
        yield marker, at
        if marker == END:
            return
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _note(data: bytes, at: int, scans: dict[int, set[int]]) -> None:
    """Note which coefficients of which components a scan brings to their last bit."""
    count = data[at + 4]
    first, last, bits = data[at + 5 + 2 * count : at + 8 + 2 * count]
    if bits & 15 == 0:
        for k in range(count):
            scans.get(data[at + 5 + 2 * k], set()).update(range(first, last + 1))


def _ends_flat(picture: Image.Image, scale: int) -> bool:
    """Whether the last pixels are alike, as they are where data never came; few others need a second look."""
    edge = max(2, EDGE // scale)  # one pixel is always like itself
    colours = picture.crop((max(0, picture.width - edge), picture.height - 1, *picture.size)).getcolors()
    return colours is not None and len(colours) == 1

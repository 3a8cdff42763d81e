"""Small pictures of a page: WebP of bounded size, as data: addresses or as files beside the page."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datagen.export import Finished
from datagen.export.parts import pictured
from datagen.images.ahead import prefetch
from datagen.images.decode import Unreadable, decode
from datagen.report.entries import Entry

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 256  # pixels of the longer side
QUALITY = 72
AHEAD = 64
FOLDER = "pictures"


@dataclasses.dataclass(frozen=True)
class Pictures:
    """The addresses of a pair's two pictures, "" and why for one that cannot be read."""

    chosen: str
    rejected: str
    errors: tuple[str, str]

    def bytes(self) -> int:
        """What the addresses take in a page."""
        return len(self.chosen) + len(self.rejected)


@dataclasses.dataclass(frozen=True)
class Files:
    """A pair with the bytes of its two pictures."""

    entry: Entry
    chosen: bytes
    rejected: bytes


def files(finished: Finished, entries: Sequence[Entry]) -> Iterator[Files]:
    """The pictures of some pairs, shard by shard; each shard is read once, a few rows at a time."""
    wanted: dict[int, dict[int, Entry]] = {}
    for entry in entries:
        wanted.setdefault(entry.shard, {})[entry.row] = entry
    for shard, rows in sorted(wanted.items()):
        first = 0
        for table in pictured.tables(finished.run, shard, list(pictured.SIDES)):
            for row in sorted(row for row in rows if first <= row < first + len(table)):
                (two,) = table.slice(row - first, 1).to_pylist()
                yield Files(rows[row], two["chosen"]["bytes"], two["rejected"]["bytes"])
            first += len(table)


def made(given: Iterator[Files]) -> Iterator[tuple[Files, bytes | str, bytes | str]]:
    """Each pair with its two thumbnails, encoded, or why there is none; threads make them ahead."""
    return prefetch(lambda pair: (pair, small(pair.chosen), small(pair.rejected)), given, AHEAD)


def inline(chosen: bytes | str, rejected: bytes | str) -> Pictures:
    """As data: addresses."""
    return _pictures(chosen, rejected, lambda data, side: address(data))


def beside(folder: Path, entry: Entry, chosen: bytes | str, rejected: bytes | str) -> Pictures:
    """As files in FOLDER of `folder`, which has to be there."""

    def written(data: bytes, side: str) -> str:
        name = f"{entry.pair_id}-{side}.webp"
        (folder / FOLDER / name).write_bytes(data)
        return f"{FOLDER}/{name}"

    return _pictures(chosen, rejected, written)


def _pictures(chosen: bytes | str, rejected: bytes | str, placed: Callable[[bytes, str], str]) -> Pictures:
    one, other = (
        (placed(data, side), "") if isinstance(data, bytes) else ("", data)
        for side, data in (("chosen", chosen), ("rejected", rejected))
    )
    return Pictures(one[0], other[0], (one[1], other[1]))


def address(thumbnail: bytes) -> str:
    """A thumbnail as a data: address."""
    return f"data:image/webp;base64,{base64.b64encode(thumbnail).decode()}"


def small(source: bytes | Path) -> bytes | str:
    """The thumbnail of an encoded image, or why there is none."""
    try:
        picture: Image = decode(source, 2 * SIDE)
    except Unreadable as error:
        return str(error)
    picture.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    # What is no larger than a thumbnail is shown as it is: a few pixels would only lose by compression.
    few = max(picture.size) <= SIDE // 2
    picture.save(file, "WEBP", **({"lossless": True, "method": 0} if few else {"quality": QUALITY, "method": 2}))
    return file.getvalue()

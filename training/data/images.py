"""The distinct images of a data set by content: hashes and sizes in memory, bytes on disk until they are asked for.

Two cells with the same bytes are one image. Order is that of first appearance: reading in order reads files in order.
"""

from __future__ import annotations

import builtins
import threading
from array import array
from collections.abc import Iterable

from training.data.image_sources import ImageSource, Reader

ImageInfo = tuple[str, int, int]  # content hash (32 hex digits), height, width


class Images:
    """N distinct images: `hashes` (SHA-256 of the bytes, 32 hex digits) and `sizes` (height, width)."""

    def __init__(self) -> None:
        self.hashes: list[str] = []
        self.sizes: list[tuple[int, int]] = []
        self._rows: dict[str, int] = {}
        self._sources: list[ImageSource] = []
        self._source, self._place = array("i"), array("q")
        self._open: tuple[int, Reader] | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.hashes)

    def add(self, source: ImageSource, found: Iterable[tuple[int, ImageInfo]]) -> list[int]:
        """The rows of images at (place, info) of a source; those not seen before become new rows."""
        self._sources.append(source)
        rows = []
        for place, (name, height, width) in found:
            row = self._rows.setdefault(name, len(self.hashes))
            if row == len(self.hashes):
                self.hashes.append(name)
                self.sizes.append((height, width))
                self._source.append(len(self._sources) - 1)
                self._place.append(place)
            rows.append(row)
        return rows

    def where(self, row: int) -> str:
        """In words, where the image of a row is."""
        return self._sources[self._source[row]].where(self._place[row])

    def bytes(self, row: int) -> builtins.bytes:
        """The encoded image, read from its file now; any thread may ask. Raises TrainingError."""
        with self._lock:
            source = self._source[row]
            if self._open is None or self._open[0] != source:
                self._open = source, self._sources[source].open()
            return self._open[1](self._place[row])

"""The distinct images of a data set by content: hashes and sizes in memory, bytes on disk until they are asked for.

Two cells with the same bytes are one image. Order is that of first appearance: reading in order reads files in order.
"""

from __future__ import annotations

import builtins
import threading
from array import array
from collections.abc import Iterable

from training.data.shelves import Reader, Shelf

Fact = tuple[str, int, int]  # content hash (32 hex digits), height, width


class Images:
    """N distinct images: `hashes` (SHA-256 of the bytes, 32 hex digits) and `sizes` (height, width)."""

    def __init__(self) -> None:
        self.hashes: list[str] = []
        self.sizes: list[tuple[int, int]] = []
        self._rows: dict[str, int] = {}
        self._shelves: list[Shelf] = []
        self._shelf, self._place = array("i"), array("q")
        self._open: tuple[int, Reader] | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.hashes)

    def add(self, shelf: Shelf, found: Iterable[tuple[int, Fact]]) -> list[int]:
        """The rows of images at (place, fact) of a shelf; those not seen before become new rows."""
        self._shelves.append(shelf)
        rows = []
        for place, (name, height, width) in found:
            row = self._rows.setdefault(name, len(self.hashes))
            if row == len(self.hashes):
                self.hashes.append(name)
                self.sizes.append((height, width))
                self._shelf.append(len(self._shelves) - 1)
                self._place.append(place)
            rows.append(row)
        return rows

    def where(self, row: int) -> str:
        """In words, where the image of a row stands."""
        return self._shelves[self._shelf[row]].where(self._place[row])

    def bytes(self, row: int) -> builtins.bytes:
        """The encoded image, read from its file now; any thread may ask. Raises TrainingError."""
        with self._lock:
            shelf = self._shelf[row]
            if self._open is None or self._open[0] != shelf:
                self._open = shelf, self._shelves[shelf].open()
            return self._open[1](self._place[row])

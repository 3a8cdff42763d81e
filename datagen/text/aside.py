"""Long arrays and many rows in temporary files, so that of a million texts only what is looked at is in memory.

An array is written by parts and then read where it lies; rows are read as often as it suits, in the order in which
they were added. RunError if there is no room for a file.
"""

from __future__ import annotations

import mmap
import os
import pickle
import tempfile
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from datagen.errors import RunError

TOGETHER = 500  # rows that are written and read at a time
IN_MEMORY = 1_000_000  # bytes of rows, beyond which they lie in a file
Row = TypeVar("Row")


class Aside:
    """An array of equal items that is written first, part by part, and then read."""

    def __init__(self, dtype: type[np.generic]) -> None:
        self._dtype = np.dtype(dtype)
        self._map: mmap.mmap | None = None
        self._file = _refusing(tempfile.TemporaryFile)
        self._array: NDArray[Any] | None = None

    def add(self, part: NDArray[Any]) -> None:
        """Put a part behind those that are there."""
        _refusing(self._file.write, np.ascontiguousarray(part, self._dtype).data)

    def put(self, first: int, part: NDArray[Any]) -> None:
        """Put a part where its first item is the one of that number."""
        data = np.ascontiguousarray(part, self._dtype).tobytes()
        _refusing(os.pwrite, self._file.fileno(), data, first * self._dtype.itemsize)

    @property
    def array(self) -> NDArray[Any]:
        """All of it, to be read; nothing is written after that."""
        if self._array is None:
            _refusing(self._file.flush)
            if not os.fstat(self._file.fileno()).st_size:
                self._array = np.empty(0, self._dtype)
            else:
                self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
                self._array = np.frombuffer(self._map, self._dtype)
        return self._array

    def release(self) -> None:
        """Let go of what was read, which lies in the file."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


class Rows(Collection[Row], Generic[Row]):
    """Rows that are gone through in order, as often as it suits; of many, a few are in memory at a time."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)
        self._places: list[int] = []  # where in the file each of its parts begins
        self._last: list[Row] = []
        self._count = 0
        self.extend(rows)

    def add(self, row: Row) -> None:
        """Put a row behind those that are there."""
        self._last.append(row)
        self._count += 1
        if len(self._last) == TOGETHER:
            self._places.append(self._file.seek(0, os.SEEK_END))
            _refusing(self._file.write, pickle.dumps(self._last, pickle.HIGHEST_PROTOCOL))
            self._last = []

    def extend(self, rows: Iterable[Row]) -> None:
        """Put rows behind those that are there."""
        for row in rows:
            self.add(row)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, row: object) -> bool:
        return any(row == other for other in self)

    def __iter__(self) -> Iterator[Row]:
        for place in self._places:
            self._file.seek(place)
            yield from pickle.load(self._file)
        yield from self._last


def _refusing(call: Any, *given: Any) -> Any:
    try:
        return call(*given)
    except OSError as error:
        raise RunError(
            f"cannot write a temporary file in {tempfile.gettempdir()} ({error.strerror or error}): "
            "free some space, or set TMPDIR"
        ) from error

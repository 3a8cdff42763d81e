"""Where encoded images are: the cells of a Parquet file, or the files of a folder.

A source numbers its places; `open()` gives a function from place to bytes that is fast when places are asked for in
order and holds a few rows of the file at most.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from training.errors import TrainingError, one_line

Reader = Callable[[int], bytes]
WINDOW = 16  # rows read at once: with two PNGs of 1024 px a row some 50 MB


class ImageSource(Protocol):
    """A numbered set of encoded images."""

    def open(self) -> Reader:
        """A function from place to bytes, not safe for several threads. It raises TrainingError for a bad cell."""
        ...

    def where(self, place: int) -> str:
        """The place in words, for messages."""
        ...

    def files(self) -> list[Path]:
        """The files whose content the bytes are."""
        ...


@dataclasses.dataclass(frozen=True)
class ParquetSource:
    """The image columns of a Parquet file; place = row × number of columns + column."""

    path: Path
    columns: tuple[str, ...]

    def open(self) -> Reader:
        """See ImageSource: rows in order are read once each; another order rereads their row group."""
        return _Window(self).bytes

    def where(self, place: int) -> str:
        """The place in words: file, row, column."""
        row, column = divmod(place, len(self.columns))
        return f"{self.path.name} row {row}: {self.columns[column]}"

    def files(self) -> list[Path]:
        """The one file."""
        return [self.path]


@dataclasses.dataclass(frozen=True)
class FolderSource:
    """Image files by number."""

    paths: Sequence[Path]

    def open(self) -> Reader:
        """See ImageSource."""

        def read(place: int) -> bytes:
            try:
                data = self.paths[place].read_bytes()
            except OSError as error:
                raise TrainingError(f"{self.paths[place]} cannot be read ({error.strerror})") from error
            if not data:
                raise TrainingError(f"{self.paths[place]} is empty: it holds no image bytes")
            return data

        return read

    def where(self, place: int) -> str:
        """The file's name with its folder's."""
        return "/".join(self.paths[place].parts[-2:])

    def files(self) -> list[Path]:
        """All of them."""
        return list(self.paths)


class _Window:
    """A few consecutive rows of a Parquet file's image columns, moved forward as rows are asked for."""

    def __init__(self, source: ParquetSource) -> None:
        self.source = source
        self.file = pq.ParquetFile(source.path, memory_map=True)
        counts = [self.file.metadata.row_group(i).num_rows for i in range(self.file.num_row_groups)]
        self.starts = [0, *itertools.accumulate(counts)]
        self.batches: Iterator[pa.RecordBatch] = iter(())
        self.first = 0
        self.cells: list[pa.Array] = [pa.nulls(0)] * len(source.columns)
        self.group = -1

    def bytes(self, place: int) -> bytes:
        row, column = divmod(place, len(self.source.columns))
        try:
            self._move_to(row)
        except (pa.ArrowException, OSError) as error:
            raise TrainingError(
                f"{self.source.path} cannot be read ({one_line(error)}); build or download it again"
            ) from error
        cell = self.cells[column][row - self.first].as_py()
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(data, bytes) or not data:
            raise TrainingError(f"{self.source.where(place)} holds no image bytes")
        return data

    def _move_to(self, row: int) -> None:
        """Have the window cover a row; a row before it or in another row group starts that group again."""
        group = bisect.bisect_right(self.starts, row) - 1
        if group != self.group or row < self.first:
            self.batches = self.file.iter_batches(WINDOW, row_groups=[group], columns=list(self.source.columns))
            self.first, self.cells, self.group = self.starts[group], [pa.nulls(0)] * len(self.cells), group
        while row >= self.first + len(self.cells[0]):
            batch = next(self.batches)
            self.first += len(self.cells[0])
            self.cells = [batch.column(name) for name in self.source.columns]

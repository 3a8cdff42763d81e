"""Where encoded images are: cells of a Parquet or Arrow file, an archive's members, files that a table names.

A source numbers its places; `open()` gives a function from place to bytes that is fast when places are asked for in
order and holds a few rows of the file at most.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.errors import InputError
from datagen.tables import archives, arrow, cells
from datagen.tables.folders import Finder, walk
from datagen.tables.tars import Sample, Tar
from training.data.faults import Unusable
from training.errors import TrainingError, one_line

Reader = Callable[[int], bytes]
WINDOW = 16  # rows read at once: with two PNGs of 1024 px a row some 50 MB


class ImageSource(Protocol):
    """A numbered set of encoded images."""

    def open(self) -> Reader:
        """A function from place to bytes, not safe for several threads. It raises Unusable for a bad cell."""
        ...

    def where(self, place: int) -> str:
        """The place in words, for messages."""
        ...

    def files(self) -> list[Path] | None:
        """The files whose content the bytes are; None where that shows only as they are read."""
        ...


@dataclasses.dataclass(frozen=True)
class Cells:
    """The image columns of a table of bytes, or of names of files; place = row × number of columns + column."""

    path: Path
    columns: tuple[str, ...]
    root: Path
    named: list[str] = dataclasses.field(default_factory=list, compare=False)  # files that cells named, as they come

    def where(self, place: int) -> str:
        """The place in words: file, row, column."""
        row, column = divmod(place, len(self.columns))
        return f"{self.path.name} row {row}: {self.columns[column]}"

    def files(self) -> list[Path] | None:
        """The table alone, as long as no cell has named another file."""
        return None if self.named else [self.path]

    def encoded(self, cell: Any, place: int) -> bytes:
        """The bytes that a cell holds, or those of the file that it names. Raises Unusable."""
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        name = cell.get("path") if isinstance(cell, dict) else cell
        if isinstance(data, bytes) and data:
            return data
        if not isinstance(name, str) or not name.strip():
            raise Unusable(f"{self.where(place)} holds no image bytes")
        self.named[:] = [name]
        return beside(self.path, self.root).read(name, self.where(place))


class ParquetSource(Cells):
    """Cells of a Parquet file."""

    def open(self) -> Reader:
        """See ImageSource: rows in order are read once each; another order rereads their row group."""
        return _Window(self).bytes


class ArrowSource(Cells):
    """Cells of an Arrow file, which is mapped into memory."""

    def open(self) -> Reader:
        """See ImageSource."""
        table = arrow.read(self.path)

        def read(place: int) -> bytes:
            row, column = divmod(place, len(self.columns))
            return self.encoded(table[self.columns[column]][row].as_py(), place)

        return read


@dataclasses.dataclass(frozen=True)
class FileSource:
    """Image files that a table names, by number; `places` say where it does."""

    path: Path
    root: Path
    names: tuple[Any, ...]
    places: tuple[str, ...]

    def open(self) -> Reader:
        """See ImageSource."""
        found = beside(self.path, self.root)

        def read(place: int) -> bytes:
            name = self.names[place]
            if not isinstance(name, str) or not name.strip():
                raise Unusable(f"{self.places[place]} names no image file")
            return found.read(name, self.places[place])

        return read

    def where(self, place: int) -> str:
        """The table's line and column."""
        return self.places[place]

    def files(self) -> list[Path] | None:
        """All of them, and the table."""
        found = beside(self.path, self.root)
        paths = [found.find(name) for name in self.names if isinstance(name, str)]
        return [self.path, *(path for path in paths if path)]


@dataclasses.dataclass(frozen=True)
class TarSource:
    """The pictures of a WebDataset archive's samples; place = sample × number of columns + column."""

    path: Path
    columns: tuple[str, ...]
    samples: tuple[Sample, ...]

    def open(self) -> Reader:
        """See ImageSource: any order is fast, unless the archive is compressed."""
        archive = Tar(self.path)

        def read(place: int) -> bytes:
            sample, column = divmod(place, len(self.columns))
            try:
                data = archives.picture(archive, self.samples[sample], self.columns[column])
            except (InputError, cells.Unusable) as error:
                raise Unusable(f"{self.where(place)}: {error}") from error
            if not data:
                raise Unusable(f"{self.where(place)} is empty: it holds no image bytes")
            return data

        return read

    def where(self, place: int) -> str:
        """The archive, the sample's key, the column."""
        sample, column = divmod(place, len(self.columns))
        return f"{self.path.name} {self.samples[sample].key}: {self.columns[column]}"

    def files(self) -> list[Path] | None:
        """The archive."""
        return [self.path]


class Beside:
    """The files that a table names: beside it, or anywhere its data set's folder has them."""

    def __init__(self, table: Path, root: Path) -> None:
        self.table, self.root = table, root

    def find(self, name: str) -> Path | None:
        """The file, None if there is none."""
        for folder in (self.table.parent, self.root):
            if (path := folder / name).is_file():
                return path
        return self._finder.find(name)

    def read(self, name: str, where: str) -> bytes:
        """Its bytes. Raises Unusable."""
        try:
            path = self.find(name)
            data = path.read_bytes() if path else None
        except (OSError, ValueError) as error:
            raise Unusable(f"{where}: {name!r} cannot be read ({one_line(error)})") from error
        if data is None:
            raise Unusable(f"{where} holds no image bytes, and there is no file {self._finder.tried(name)}")
        if not data:
            raise Unusable(f"{where}: {path} is empty: it holds no image bytes")
        return data

    @functools.cached_property
    def _finder(self) -> Finder:
        return Finder(self.root, self.table, walk(self.root).images)


@functools.lru_cache(maxsize=1)  # the parts of a data set come one after another
def beside(table: Path, root: Path) -> Beside:
    """What a table's file names lead to; its folder is walked through once."""
    return Beside(table, root)


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
                raise Unusable(f"{self.paths[place]} cannot be read ({error.strerror})") from error
            if not data:
                raise Unusable(f"{self.paths[place]} is empty: it holds no image bytes")
            return data

        return read

    def where(self, place: int) -> str:
        """The file's name with its folder's."""
        return "/".join(self.paths[place].parts[-2:])

    def files(self) -> list[Path] | None:
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
        return self.source.encoded(self.cells[column][row - self.first].as_py(), place)

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

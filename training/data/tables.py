"""One table of pairs, its columns apart from its images: Parquet, Arrow, WebDataset tars, CSV, TSV, JSON Lines.

Whatever is broken becomes a TrainingError that names it.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from datagen.tables import archives, arrow, json_lines, parquet, rows, tars
from datagen.tables.tars import Sample, Tar
from training.data.image_sources import ArrowSource, FileSource, ImageSource, ParquetSource, TarSource
from training.errors import TrainingError, one_line


@dataclasses.dataclass(frozen=True)
class Table:
    """A table at `path` in the data set at `root`, below which the files lie that it names."""

    path: Path
    root: Path

    @cached_property
    def types(self) -> dict[str, pa.DataType | None]:
        """The columns and their types; None where a cell may hold anything."""
        if self._in_memory:
            pictures = (name for sample in self._samples for name in archives.pictures(sample))
            return dict.fromkeys([*(name for row in self._rows for name in row.values), *pictures])
        return {field.name: field.type for field in self._schema}

    @property
    def names(self) -> list[str]:
        """The columns."""
        return list(self.types)

    def __len__(self) -> int:
        if self._in_memory:
            return len(self._rows)
        if self._is_arrow:
            return int(arrow.read(self.path).num_rows)
        with parquet.open_file(self.path) as file:
            return int(file.metadata.num_rows)

    def values(self, name: str) -> list[Any]:
        """The cells of a column that holds no images."""
        if self._in_memory:
            return [row.values.get(name) for row in self._rows]
        try:
            if self._is_arrow:
                return list(arrow.read(self.path)[name].to_pylist())
            with parquet.open_file(self.path) as file:
                return list(file.read(columns=[name])[name].to_pylist())
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise TrainingError(
                f"{self.path} cannot be read ({one_line(error)}); build or download it again"
            ) from error

    def images(self, columns: Sequence[str]) -> ImageSource:
        """The images of some columns; place = row × number of columns + column. Raises TrainingError for others."""
        for name in columns:
            kind = self.types[name]
            if kind is not None and not _may_be_images(kind):
                raise TrainingError(
                    f"{self.path.name}: {name} holds {kind}; images are bytes, structs of bytes and path, or names of "
                    "files"
                )
        if self._is_tar:
            return TarSource(self.path, tuple(columns), self._samples)
        if self._in_memory:
            names = [row.values.get(column) for row in self._rows for column in columns]
            places = [f"{self.path.name} {row.place}: {column}" for row in self._rows for column in columns]
            return FileSource(self.path, self.root, tuple(names), tuple(places))
        kind = ArrowSource if self._is_arrow else ParquetSource
        return kind(self.path, tuple(columns), self.root)

    def where(self, row: int) -> str:
        """A row in words."""
        return f"{self.path.name} {self._rows[row].place if self._in_memory else f'row {row}'}"

    @property
    def _is_arrow(self) -> bool:
        return self.path.suffix.lower() == ".arrow"

    @property
    def _is_tar(self) -> bool:
        return tars.is_tar(self.path)

    @property
    def _in_memory(self) -> bool:
        """Whether the rows are all read, which images are no part of."""
        return self.path.suffix.lower() not in (".arrow", ".parquet")

    @cached_property
    def _samples(self) -> tuple[Sample, ...]:
        """Those of an archive; what of it cannot be read is said."""
        if not self._is_tar:
            return ()
        archive = Tar(self.path)
        found = tuple(archive.samples())
        for note in archive.notes():
            print(note, file=sys.stderr)
        return found

    @cached_property
    def _rows(self) -> list[rows.Row]:
        if self._is_tar:
            return list(archives.texts_of(Tar(self.path), self._samples))
        found = list(rows.read(self.path).rows())
        if self.path.suffix.lower() != ".jsonl":
            return found
        return [rows.Row(*line) for line in json_lines.objects(self.path)]  # any line may have further columns

    @cached_property
    def _schema(self) -> pa.Schema:
        return arrow.read(self.path).schema if self._is_arrow else parquet.columns(self.path)


def _may_be_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(kind.get_field_index(name) >= 0 for name in ("bytes", "path"))
    return pa.types.is_null(kind) or parquet.is_image(kind) or parquet.is_text(kind)

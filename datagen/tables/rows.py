"""Rows of a table, whichever format it has: `read(path)`, then `.columns` and `.rows()`.

Values are what the file holds: of CSV and TSV texts, of JSON Lines, Parquet and Arrow anything; `cells` says what of
it can be used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from datagen.errors import InputError, nearest
from datagen.tables import arrow, delimited, json_lines, parquet

DELIMITERS = {".csv": ",", ".tsv": "\t"}
IN_TEXT = (*DELIMITERS, ".jsonl")
SUFFIXES = (*IN_TEXT, ".parquet", ".arrow")


@dataclasses.dataclass(frozen=True)
class Row:
    """One row: where it is ("line 3", "row 2") and its values by column."""

    place: str
    values: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table that can be read several times; it is read as a stream."""

    path: Path
    columns: tuple[str, ...]

    def check(self, column: str, what: str = "") -> None:
        """InputError, which offers the nearest name, if there is no such column; `what` it should hold."""
        if column not in self.columns:
            raise InputError(f"{self.path} has no column {column!r}{what}; {nearest(column, self.columns)}")

    def check_text(self, column: str) -> None:
        """InputError if a column is missing, or by its type holds no texts."""
        self.check(column)
        if (types := self.types()) is not None:
            parquet.check_text(self.path, types, column)

    def types(self) -> pa.Schema | None:
        """The columns and their types; None where a cell may hold anything."""
        suffix = self.path.suffix.lower()
        if suffix == ".parquet":
            return parquet.columns(self.path)
        return arrow.read(self.path).schema if suffix == ".arrow" else None

    def count(self) -> int:
        """How many rows there are; those of a text are read for it."""
        suffix = self.path.suffix.lower()
        if suffix == ".parquet":
            with parquet.open_file(self.path) as file:
                return int(file.metadata.num_rows)
        if suffix == ".arrow":
            return int(arrow.read(self.path).num_rows)
        return sum(1 for _ in self.rows(*self.columns[:1]))

    def rows(self, *columns: str, at_once: int | None = None) -> Iterator[Row]:
        """The rows in order, of the named columns alone; a value that is not there is None.

        `at_once` of a Parquet file are in memory: few where they hold images.
        """
        wanted = columns or self.columns
        suffix = self.path.suffix.lower()
        if suffix in (".parquet", ".arrow"):
            at_once = at_once or (1024 if columns else parquet.ROWS)
            found = arrow.rows(self.path, wanted) if suffix == ".arrow" else parquet.rows(self.path, wanted, at_once)
            yield from (Row(f"row {number}", values) for number, values in enumerate(found))
        elif suffix == ".jsonl":
            for place, values in json_lines.objects(self.path):
                yield Row(place, {name: values.get(name) for name in wanted})
        else:
            lines = delimited.rows(self.path, DELIMITERS[suffix])
            _, header = next(lines, ("", []))
            for place, cells in lines:
                values = dict(zip(header, cells, strict=True))
                yield Row(place, {name: values[name] for name in wanted})


def read(path: Path) -> Table:
    """A table by its suffix; InputError for what is none, has no rows, or cannot be read as what its name says."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} is no table that can be read: give {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    table = Table(path, tuple(name for name in _columns(path, suffix) if name))
    # A footer tells it; reading the first rows of a column of images might fill the memory.
    known = suffix not in IN_TEXT
    if (known and not table.count()) or (not known and next(table.rows(*table.columns[:1]), None) is None):
        raise InputError(f"{path} has no rows")
    return table


def _columns(path: Path, suffix: str) -> list[str]:
    """The names of the columns: of a header, of the footer, of the first line's object."""
    if suffix == ".parquet":
        return list(parquet.columns(path).names)
    if suffix == ".arrow":
        return list(arrow.read(path).column_names)
    if suffix == ".jsonl":
        return list(next(json_lines.objects(path), ("", {}))[1])
    return next(delimited.rows(path, DELIMITERS[suffix]), ("", []))[1]

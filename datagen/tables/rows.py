"""Rows of a table, whichever format it has: `read(path)`, then `.columns` and `.rows()`.

Values are what the file holds: of CSV and TSV texts, of JSON Lines and Parquet anything; `cells` says what of it can
be used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datagen.errors import InputError, nearest
from datagen.tables import delimited, json_lines, parquet

DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*DELIMITERS, ".jsonl", ".parquet")


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
        if self.path.suffix.lower() == ".parquet":
            parquet.check_text(self.path, parquet.columns(self.path), column)

    def rows(self, *columns: str) -> Iterator[Row]:
        """The rows in order, of the named columns alone; a value that is not there is None."""
        wanted = columns or self.columns
        suffix = self.path.suffix.lower()
        if suffix == ".parquet":
            found = parquet.rows(self.path, wanted, 1024 if columns else parquet.ROWS)
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
    if next(table.rows(*table.columns[:1]), None) is None:
        raise InputError(f"{path} has no rows")
    return table


def _columns(path: Path, suffix: str) -> list[str]:
    """The names of the columns: of a header, of the footer, of the first line's object."""
    if suffix == ".parquet":
        return list(parquet.columns(path).names)
    if suffix == ".jsonl":
        return list(next(json_lines.objects(path), ("", {}))[1])
    return next(delimited.rows(path, DELIMITERS[suffix]), ("", []))[1]

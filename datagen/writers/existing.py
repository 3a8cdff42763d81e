"""Prompts that exist already: a column of a CSV, TSV, Parquet or JSON Lines file or data set, or the lines of a text.

Texts are distinct and in the order of a hash of seed and text, so what is taken depends on neither the order nor the
length of the file. Empty cells and repeated texts are left out and counted. A source that cannot be read, or that
holds anything but texts in this column, is an InputError that names the line or row.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datagen.errors import InputError, RunError, nearest, one_line
from datagen.tables import cells, json_lines, parquet, rows, text

SUFFIXES = (*rows.SUFFIXES, ".txt")


class Distinct:
    """Distinct texts in the order of a hash of seed and text, in a temporary file; RunError if there is no room."""

    def __init__(self, seed: int) -> None:
        self._seed, self._base = seed, sqlite3.connect("", isolation_level=None)
        for line in ("PRAGMA journal_mode = OFF", "PRAGMA cache_size = -16000", "BEGIN"):
            self._base.execute(line)
        self._base.execute("CREATE TABLE texts (place BLOB PRIMARY KEY, text TEXT) WITHOUT ROWID")

    def add(self, text: str) -> bool:
        """Add a text; False if it is there."""
        place = hashlib.sha256(f"{self._seed} {text}".encode()).digest()
        try:
            return self._base.execute("INSERT OR IGNORE INTO texts VALUES (?, ?)", (place, text)).rowcount == 1
        except sqlite3.OperationalError as error:
            raise RunError(f"no room for a temporary file ({error}): free some space, or set SQLITE_TMPDIR") from error

    def __iter__(self) -> Iterator[str]:
        return (text for (text,) in self._base.execute("SELECT text FROM texts ORDER BY place"))


@dataclasses.dataclass(frozen=True)
class Prompts:
    """The distinct texts of a source in hash order, and how many were left out for which reason."""

    texts: Distinct
    drops: collections.Counter[str]


def prompts(source: str, column: str, seed: int) -> Prompts:
    """The texts of a source; InputError if it cannot be read or has none."""
    path = Path(source).expanduser()
    found = _of_file(path, column) if path.suffix.lower() in SUFFIXES else _of_data_set(source, column)
    texts, drops = Distinct(seed), collections.Counter[str]()
    for place, cell in found:
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            drops["empty in the source"] += 1
            continue
        try:
            one = " ".join(cells.text_of(cell).split())
        except cells.Unusable as error:
            raise InputError(f"prompts.source {source} {place}, column {column!r}: {error}") from error
        drops["repeated in the source"] += not texts.add(one)
    if next(iter(texts), None) is None:
        raise InputError(f"prompts.source {source!r} has no texts in column {column!r}")
    return Prompts(texts, +drops)


def _of_file(path: Path, column: str) -> Iterator[tuple[str, Any]]:
    """Each cell with its place."""
    try:
        suffix = path.suffix.lower()
        if suffix == ".txt":
            yield from ((f"line {number}", line) for number, line in enumerate(text.lines(path), 1) if line.strip())
        elif suffix == ".jsonl":
            first = True
            for place, value in json_lines.values(path):
                if first and isinstance(value, dict):
                    _known(column, value, path)
                first = False
                yield place, value.get(column) if isinstance(value, dict) else value
        else:
            table = rows.read(path)
            _known(column, table.columns, path)
            table.check_text(column)
            yield from ((row.place, row.values[column]) for row in table.rows(column))
    except InputError as error:
        raise error if str(error).startswith("prompts.source") else InputError(f"prompts.source {error}") from error


def _of_data_set(source: str, column: str) -> Iterator[tuple[str, Any]]:
    """A column of a data set on disk or on the hub: "owner/name", or "owner/name:split" for another than train."""
    import datasets

    name, _, split = source.partition(":")
    try:
        if Path(name).is_dir() and (Path(name) / "dataset_info.json").is_file():
            found: Any = datasets.load_from_disk(name)
        else:
            found = datasets.load_dataset(name, split=split or "train", streaming=True)
        if found.column_names:
            _known(column, found.column_names, source)
        number = 0
        # As Arrow tables: otherwise a column of images would be decoded by the library's own rules.
        for table in found.select_columns([column]).with_format("arrow").iter(1024):
            if not parquet.is_text(table.schema.field(column).type):
                raise InputError(
                    f"prompts.source {source}: column {column!r} is {table.schema.field(column).type}, not text"
                )
            for cell in table[column].to_pylist():
                yield f"row {number}", cell
                number += 1
    except InputError:
        raise
    except Exception as error:  # the library has no common base for what it raises
        raise InputError(
            f"prompts.source {source!r} is neither a file ({', '.join(SUFFIXES)}) nor a data set that can be loaded: "
            f"{one_line(error)}"
        ) from error


def _known(column: str, names: Any, source: object) -> None:
    if column not in names:
        raise InputError(
            f"prompts.source {source} has no column {column!r}: set prompts.column; {nearest(column, names)}"
        )

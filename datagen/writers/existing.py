"""Prompts that exist already: a column of a CSV, TSV, Parquet or JSON Lines file or data set, or the lines of a text.

Texts are distinct and in the order of a hash of seed and text, so what is taken depends on neither the order nor the
length of the file. Empty cells and repeated texts are left out and counted. A source that cannot be read, or that
holds anything but texts in this column, is an InputError that names the line or row.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datagen.errors import InputError, nearest, one_line
from datagen.tables import cells, json_lines, parquet, rows, text

SUFFIXES = (*rows.SUFFIXES, ".txt")


@dataclasses.dataclass(frozen=True)
class Prompts:
    """The distinct texts of a source in hash order, and how many were left out for which reason."""

    texts: list[str]
    drops: collections.Counter[str]


def prompts(source: str, column: str, seed: int) -> Prompts:
    """The texts of a source; InputError if it cannot be read or has none."""
    path = Path(source).expanduser()
    found = _of_file(path, column) if path.suffix.lower() in SUFFIXES else _of_data_set(source, column)
    texts, drops = set[str](), collections.Counter[str]()
    for place, cell in found:
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            drops["empty in the source"] += 1
            continue
        try:
            one = " ".join(cells.text_of(cell).split())
        except cells.Unusable as error:
            raise InputError(f"prompts.source {source} {place}, column {column!r}: {error}") from error
        drops["repeated in the source"] += one in texts
        texts.add(one)
    if not texts:
        raise InputError(f"prompts.source {source!r} has no texts in column {column!r}")
    return Prompts(sorted(texts, key=lambda text: hashlib.sha256(f"{seed} {text}".encode()).digest()), +drops)


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

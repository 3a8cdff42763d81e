"""Prompts that exist already: a column of a CSV, TSV, Parquet or JSON Lines file or data set, or the lines of a text.

Texts are distinct and in the order of a hash of seed and text, so what is taken depends on neither the order nor the
length of the file. What is not text is left out; a source that cannot be read at all is an InputError.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.errors import InputError, nearest, one_line

LONGEST = 10_000  # characters of a text that is looked at; no prompt is as long
SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".txt")
CELL = 1 << 24


def prompts(source: str, column: str, seed: int) -> list[str]:
    """The distinct texts of a source in hash order; InputError if it cannot be read or has none."""
    path = Path(source).expanduser()
    with _reading(source):
        cells = _of_file(path, column) if path.suffix.lower() in SUFFIXES else _of_data_set(source, column)
        texts = {" ".join(cell.split()) for cell in cells if isinstance(cell, str) and len(cell) <= LONGEST} - {""}
    if not texts:
        raise InputError(f"prompts.source {source!r} has no texts in column {column!r}")
    return sorted(texts, key=lambda text: hashlib.sha256(f"{seed} {text}".encode("utf-8", "replace")).digest())


@contextlib.contextmanager
def _reading(source: str) -> Iterator[None]:
    """Whatever goes wrong with a file, in one line."""
    try:
        yield
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        why = getattr(error, "strerror", None) or one_line(error)
        raise InputError(f"prompts.source {source!r} cannot be read: {why}") from error


def _of_file(path: Path, column: str) -> Iterator[Any]:
    match path.suffix.lower():
        case ".txt":
            with path.open(encoding="utf-8-sig") as file:
                yield from file
        case ".jsonl":
            with path.open(encoding="utf-8-sig") as file:
                for number, line in enumerate(file, start=1):
                    yield _of_line(path, number, line, column)
        case ".parquet":
            with pq.ParquetFile(path) as file:
                _known(column, file.schema_arrow.names, path)
                for batch in file.iter_batches(4096, columns=[column]):
                    yield from batch.column(0).to_pylist()
        case suffix:
            csv.field_size_limit(CELL)
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ",")
                _known(column, rows.fieldnames or [], path)
                yield from (row[column] for row in rows)


def _of_line(path: Path, number: int, line: str, column: str) -> Any:
    """The value of one line of JSON: of an object its key, of a string itself."""
    if not line.strip():
        return None
    try:
        value = json.loads(line)
    except ValueError as error:
        raise InputError(f"prompts.source {path}: line {number} is not JSON: {error}") from error
    if isinstance(value, dict) and number == 1:
        _known(column, value, path)
    return value.get(column) if isinstance(value, dict) else value


def _of_data_set(source: str, column: str) -> Iterator[Any]:
    """A column of a data set on disk or on the hub: "owner/name", or "owner/name:split" for another than train."""
    import datasets

    name, _, split = source.partition(":")
    try:
        if Path(name).is_dir() and (Path(name) / "dataset_info.json").is_file():
            rows: Any = datasets.load_from_disk(name)
        else:
            rows = datasets.load_dataset(name, split=split or "train", streaming=True)
    except Exception as error:  # the library has no common base for what it raises
        raise InputError(
            f"prompts.source {source!r} is neither a file ({', '.join(SUFFIXES)}) nor a data set that can be loaded: "
            f"{one_line(error)}"
        ) from error
    _known(column, rows.column_names or [column], source)
    yield from (row[column] for row in rows.select_columns([column]))


def _known(column: str, names: Any, source: object) -> None:
    if column not in names:
        raise InputError(
            f"prompts.source {source} has no column {column!r}: set prompts.column; {nearest(column, names)}"
        )

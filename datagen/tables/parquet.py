"""Parquet files of unknown origin, read as a stream; an InputError names file and row.

Text is any of Arrow's string types, an image any of its binary types or a struct with `bytes` of one, each in a
dictionary or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.errors import InputError, nearest, one_line

ROWS = 32  # read at a time; with 1,000 of them a data set of large images fills the memory
TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)


def open_file(path: Path) -> pq.ParquetFile:
    """A Parquet file; InputError if there is none, or if it is empty, damaged or has two columns of one name."""
    try:
        if not path.is_file():
            raise InputError(f"{path} is a folder, not a file" if path.is_dir() else f"there is no {path}")
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); copy or make it again")
        # Without these two a whole row group is held in memory, which may be gigabytes of images.
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
        names = file.schema_arrow.names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} is not a readable Parquet file: {one_line(error)}") from error
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path} has two columns {name!r}: rename or remove one")
    return file


def columns(path: Path) -> pa.Schema:
    """The schema of a Parquet file, from its footer."""
    with open_file(path) as file:
        return file.schema_arrow


def rows(path: Path, names: Sequence[str], at_once: int = ROWS) -> Iterator[dict[str, Any]]:
    """The rows of a file, of the named columns, `at_once` in memory at a time."""
    done = 0
    with open_file(path) as file:
        try:
            for batch in file.iter_batches(at_once, columns=list(names), use_threads=False):
                for row in _as_python(batch):
                    yield row
                    done += 1
        except UnicodeDecodeError as error:
            raise InputError(f"{path} row {done} holds text that is not UTF-8") from error
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path} is damaged after row {done}: {one_line(error)}") from error


def _as_python(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Rows of Python values, one by one, so that a cell that is none stops at its own row."""
    for index in range(batch.num_rows):
        yield {name: batch.column(name)[index].as_py() for name in batch.schema.names}


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(of_kind(kind) for of_kind in TEXTS)


def is_image(kind: pa.DataType) -> bool:
    """Whether a column of this type holds encoded images: bytes, or structs with `bytes`."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return at >= 0 and not pa.types.is_struct(kind.field(at).type) and is_image(kind.field(at).type)
    return any(of_kind(kind) for of_kind in BYTES)


def check_text(path: Path, schema: pa.Schema, name: str) -> None:
    """InputError if a column is missing or holds no texts."""
    kind = check_known(path, schema, name)
    if not is_text(kind):
        raise InputError(f"{path}: column {name!r} is {kind}, not text")


def names_files(kind: pa.DataType) -> bool:
    """Whether a column of this type may name image files: texts, or structs with `path`."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_struct(kind):
        at = kind.get_field_index("path")
        return at >= 0 and is_text(kind.field(at).type)
    return is_text(kind)


def check_image(path: Path, schema: pa.Schema, name: str) -> None:
    """InputError if a column is missing or holds neither encoded images nor names of files."""
    kind = check_known(path, schema, name)
    if not is_image(kind) and not names_files(kind):
        raise InputError(
            f"{path}: column {name!r} is {kind}, not image bytes, a struct with bytes or path, or names of files"
        )


def check_known(path: Path, schema: pa.Schema, name: str) -> pa.DataType:
    """The type of a column; InputError, which offers the nearest name, if there is none."""
    if name not in schema.names:
        raise InputError(f"{path} has no column {name!r}; {nearest(name, schema.names)}")
    return schema.field(name).type

"""How files are written: whole or not at all, in one line if the system refuses, and Parquet in one way."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datagen.errors import RunError

TEMPORARY = ".tmp"
ROW_GROUP = 100  # rows with images; what Hugging Face uses for image datasets, so that a viewer reads little
GROUP_BYTES = 100_000_000  # of images in a row group: the hub's viewer refuses groups of more than 300 MB


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write into one line that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                f"disk full while writing {path}: free some space and rerun, finished shards are kept"
            ) from error
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def write_file(path: Path, fill: Callable[[Any], object]) -> None:
    """Create or replace a file atomically: `fill` writes to a temporary one next to it. RunError if refused."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("w+b") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def parquet_writer(file: Any, schema: pa.Schema) -> pq.ParquetWriter:
    """The one way we write Parquet: equal tables give equal bytes; encoded images are not put in dictionaries."""
    return pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=_texts(schema))


def _texts(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if pa.types.is_string(field.type)]


def row_groups(table: pa.Table) -> Iterator[pa.Table]:
    """A table cut into the row groups that it is written in: at most ROW_GROUP rows and GROUP_BYTES of images each.

    A row that is larger by itself is a group of its own; a table without rows is one group without rows.
    """
    sizes, first, held = _image_bytes(table), 0, 0
    for row, size in enumerate(sizes):
        if row > first and (row - first == ROW_GROUP or held + size > GROUP_BYTES):
            yield table.slice(first, row - first)
            first, held = row, 0
        held += size
    yield table.slice(first)


def _image_bytes(table: pa.Table) -> list[int]:
    """Bytes of each row's binary values, those in structs included: whatever else a row holds is small."""
    sizes = [0] * table.num_rows
    for column in table.flatten().columns:
        if pa.types.is_binary(column.type):
            lengths = pc.fill_null(pc.binary_length(column), 0).to_pylist()
            sizes = [size + length for size, length in zip(sizes, lengths, strict=True)]
    return sizes

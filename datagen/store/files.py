"""How files are written: whole or not at all, in one line if the system refuses, and Parquet in one way."""

from __future__ import annotations

import contextlib
import errno
import functools
import heapq
import itertools
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datagen.errors import RunError

TEMPORARY = ".tmp"
TOGETHER = 50  # row groups that are written, or read, at a time if they hold no pictures
ROW_GROUP = 100  # rows with images; what Hugging Face uses for image datasets, so that a viewer reads little
FILE_GROUPS = 250  # row groups of a file: some 0.1 MB of each is in memory until the file is closed
NAMES = 50_000  # of one folder that are sorted in memory
GROUP_BYTES = 16_000_000  # of images in a row group: who wants one row reads all of them, in some 4 ms


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write into one line that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                f"disk full while writing {path}: free some space and rerun, what is whole is kept"
            ) from error
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def write_file(path: Path, fill: Callable[[Any], object]) -> None:
    """Create or replace a file atomically: `fill` writes to a temporary one next to it. RunError if refused."""
    # A name that no process of any machine has: two may write the same file where one took the other for dead.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}")
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


def remove(folder: Path) -> None:
    """Delete a folder with all in it, if it is there. Millions of files may be: none are listed before they go."""
    if folder.is_symlink():
        folder.unlink()
    found = folder.is_dir()
    while found:
        found = False
        with os.scandir(folder) as entries:
            for entry in entries:
                found = True
                if entry.is_dir(follow_symlinks=False):
                    remove(Path(entry))
                else:
                    os.unlink(entry)
        if not found:  # a folder that is read while it changes may not show all at once
            os.rmdir(folder)


def names(folder: Path | str) -> Iterator[str]:
    """What is in a folder, by name in order; of very many, sorted parts lie in temporary files meanwhile."""
    with contextlib.ExitStack() as open_, os.scandir(folder) as entries:
        parts: list[Iterator[str]] = []
        unsorted = (entry.name for entry in entries)
        while part := sorted(itertools.islice(unsorted, NAMES)):
            parts.append(iter(part) if len(part) < NAMES else _aside(part, open_))
        yield from heapq.merge(*parts)


def _aside(part: Sequence[str], open_: contextlib.ExitStack) -> Iterator[str]:
    """The same names from a temporary file, which ends with the stack."""
    file = open_.enter_context(tempfile.TemporaryFile("w+", encoding="ascii"))
    file.writelines(f"{json.dumps(name)}\n" for name in part)  # a name may hold anything
    file.seek(0)
    return map(json.loads, file)


def parquet_writer(file: Any, schema: pa.Schema) -> pq.ParquetWriter:
    """The one way we write Parquet: equal tables give equal bytes.

    Encoded images lie there as they are; texts are put in dictionaries, and all but images is compressed. A page index
    says where each value is.
    """
    leaves = {path: kind for field in schema for path, kind in _leaves(field.name, field.type)}
    blobs = {path for path, kind in leaves.items() if pa.types.is_binary(kind)}
    return pq.ParquetWriter(
        file,
        schema,
        compression={path: "none" if path in blobs else "zstd" for path in leaves},
        use_dictionary=[path for path, kind in leaves.items() if pa.types.is_string(kind)],
        write_statistics=[path for path in leaves if path not in blobs],
        write_page_index=True,
    )


def _leaves(path: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """The columns that a field of this type is stored as, by Parquet's names of them."""
    if pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{path}.{field.name}", field.type)
    elif pa.types.is_list(kind):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    else:
        yield path, kind


def row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Tables that follow one another, cut anew into the row groups that they are written in.

    Of at most ROW_GROUP rows and GROUP_BYTES of images each, and equal however the rows came; a row that is larger by
    itself is a group of its own. No rows are one group without rows. Only what is not yet a group is held in memory.
    """
    rest: pa.Table | None = None
    sizes: list[int] = []
    for table in tables:
        rest = table if rest is None or not rest.num_rows else pa.concat_tables([rest, table])
        sizes = sizes + _image_bytes(table)
        first = 0
        for last in _ends(sizes):
            yield _apart(rest.slice(first, last - first))
            first = last
        rest, sizes = rest.slice(first), sizes[first:]
    if rest is not None:
        yield _apart(rest)


def together(groups: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Tables without pictures come many at a time, as one: of 10,000 small ones what tells of them is the larger part.

    So it is of row groups, which a footer tells of, and of arrays in memory.
    """
    some: list[pa.Table] = []
    for group in groups:
        if _is_pictured(group.schema):
            yield group
            continue
        some.append(group)
        if len(some) == TOGETHER:
            yield pa.concat_tables(some).combine_chunks()
            some = []
    if some:
        yield pa.concat_tables(some).combine_chunks()


@functools.lru_cache(maxsize=16)
def _is_pictured(schema: pa.Schema) -> bool:
    return any(pa.types.is_binary(kind) for field in schema for _, kind in _leaves(field.name, field.type))


def _apart(table: pa.Table) -> pa.Table:
    """The rows in memory of their own: a part of larger arrays may hold bits of what lies beside it."""
    return pa.concat_tables([table, table.slice(0, 0)]).combine_chunks()


def _ends(sizes: Sequence[int]) -> Iterator[int]:
    """Where row groups end that nothing can be added to, by the bytes of each row's images."""
    first, held = 0, 0
    for row, size in enumerate(sizes):
        if row > first and (row - first == ROW_GROUP or held + size > GROUP_BYTES):
            yield row
            first, held = row, 0
        held += size


def _image_bytes(table: pa.Table) -> list[int]:
    """Bytes of each row's binary values, those in structs included: whatever else a row holds is small."""
    held = [field.name for field in table.schema if pa.types.is_binary(field.type) or pa.types.is_struct(field.type)]
    blobs = [column for column in table.select(held).flatten().columns if pa.types.is_binary(column.type)]
    if not blobs:
        return [0] * table.num_rows
    lengths = [pc.fill_null(pc.binary_length(column).cast(pa.int64()), 0) for column in blobs]
    return list(functools.reduce(pc.add, lengths).to_pylist())

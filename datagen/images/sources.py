"""Existing images with their prompts, one at a time: from a folder, from a table of files, or from Parquet.

`open_input` looks first and reads later: what cannot be used at all is an `InputError` at once, what is wrong with one
image is an `Item` with its error.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.errors import InputError, nearest, one_line
from datagen.images import decode

FILE_COLUMNS = ("file", "file_name", "path")  # how tables name an image file, after the column that was asked for
PAIR_COLUMNS = ("chosen", "rejected")
CELL = 1 << 24  # characters of a prompt that are looked at; a text of 100,000 is a row with an error, not a crash
PARTS = ".parts"  # suffix of a folder of scores that are not complete yet; nothing in it is an input
ROWS = 32  # rows of Parquet read at a time; with 1,000 of them a data set of large images fills the memory


@dataclasses.dataclass(frozen=True)
class Item:
    """One image and its prompt; `path` says which, `error` why it cannot be judged."""

    path: str
    source: Path | bytes | None
    prompt: str | None
    error: str | None = None


def open_input(path: Path, prompts: Path | None, image_column: str, prompt_column: str) -> tuple[int, Iterator[Item]]:
    """How many images there are, and the images; InputError for what is not a folder, table or data set of images."""
    if not _exists(path):
        raise InputError(f"there is no {path}; give a folder of images or a Parquet file")
    if prompts is not None:
        if not path.is_dir():
            raise InputError(f"--prompts names prompts for a folder of images, but {path} is a file")
        return _listed(path, prompts, image_column, prompt_column)
    if path.is_file():
        if path.suffix.lower() != ".parquet":
            raise InputError(f"{path} is neither a folder of images nor a Parquet file")
        return _data_set([path], image_column, prompt_column)
    if images := _files(path, decode.SUFFIXES):
        return len(images), (_beside(path, image) for image in images)
    if shards := _files(path, (".parquet",)):
        return _data_set(shards, image_column, prompt_column)
    raise InputError(f"{path} holds no images ({', '.join(decode.SUFFIXES)}) and no Parquet files")


def fingerprint(path: Path, prompts: Path | None) -> str:
    """16 hex digits of the names, sizes and times of an input's files: while they are equal, so are its images."""
    files = _files(path, (*decode.SUFFIXES, ".txt", ".parquet")) if path.is_dir() else [path]
    sha = hashlib.sha256()
    for file in [*files, *([] if prompts is None else [prompts])]:
        facts = file.stat()
        sha.update(os.fsencode(f"{file} {facts.st_size} {facts.st_mtime_ns}\n"))
    return sha.hexdigest()[:16]


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files of a folder with one of the suffixes, in order; incomplete ones are left out."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    return sorted(p for p in found if not any(parent.suffix == PARTS for parent in p.relative_to(folder).parents))


def _beside(folder: Path, image: Path) -> Item:
    """An image with the prompt in the .txt file of its name."""
    sidecar = image.with_suffix(".txt")
    # A file name may be any bytes; a table holds text.
    name = os.fsencode(image.relative_to(folder).as_posix()).decode("utf-8", "replace")
    try:
        with sidecar.open(encoding="utf-8-sig") as file:
            prompt = file.read(CELL).strip()
    except FileNotFoundError:
        return Item(name, image, None, f"no prompt: expected {sidecar.name} next to the image, or --prompts")
    except (OSError, UnicodeDecodeError) as error:
        return Item(name, image, None, f"the prompt in {sidecar.name} cannot be read: {error}")
    return Item(name, image, prompt or None, None if prompt else f"no prompt: {sidecar.name} is empty")


def _exists(path: Path) -> bool:
    """Whether there is something; False too for a name that no file can have."""
    try:
        return path.exists()
    except OSError:
        return False


def _listed(folder: Path, table: Path, image_column: str, prompt_column: str) -> tuple[int, Iterator[Item]]:
    """The images that a table of files and prompts names."""
    rows = _rows_of_csv if table.suffix.lower() == ".csv" else _rows_of_parquet
    known = [name for name in next(rows(table), {}) if name is not None]  # None: cells beyond the header
    if not known:
        raise InputError(f"{table} has no rows")
    files = next((name for name in (image_column, *FILE_COLUMNS) if name in known), None)
    if files is None:
        raise InputError(f"{table} has no column {image_column!r} with the files; {nearest(image_column, known)}")
    if prompt_column not in known:
        raise InputError(f"{table} has no column {prompt_column!r}; {nearest(prompt_column, known)}")
    total = sum(1 for _ in rows(table))  # read twice, since a list of all prompts may not fit the memory
    return total, (_of_row(folder, row[files], row[prompt_column]) for row in rows(table))


def _of_row(folder: Path, cell: Any, prompt: Any) -> Item:
    if not cell:
        return Item("", None, None, "no image: the cell is empty")
    name = str(cell)
    path = folder / name
    if not _exists(path) or not path.is_file():
        return Item(name, None, None, "there is no such file")
    return _with_prompt(name, path, prompt)


def _with_prompt(name: str, source: Path | bytes, cell: Any) -> Item:
    """An image with the prompt of a table's cell."""
    prompt = "" if cell is None else str(cell).strip()
    return Item(name, source, prompt or None, None if prompt else "no prompt: the cell is empty")


def _rows_of_csv(table: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(CELL)
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {table} as CSV: {error}") from error


def _rows_of_parquet(table: Path) -> Iterator[dict[str, Any]]:
    if table.suffix.lower() != ".parquet":
        raise InputError(f"{table} is neither a .csv nor a .parquet file")
    file = _open(table)
    try:
        for batch in file.iter_batches(1024):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{table} is damaged: {one_line(error)}") from error


def _open(path: Path) -> Any:
    """A Parquet file, read as a stream; InputError if it is empty or damaged."""
    if not path.is_file():
        raise InputError(f"there is no {path}")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes); copy or make it again")
    try:
        # Without these two a whole row group is held in memory, which may be gigabytes of images.
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file: {one_line(error)}") from error


def _data_set(shards: list[Path], image_column: str, prompt_column: str) -> tuple[int, Iterator[Item]]:
    """The images of Parquet shards; of a set of pairs, both of each row."""
    total, plans = 0, []
    for shard in shards:
        file = _open(shard)
        columns = _image_columns(shard, file.schema_arrow, image_column, prompt_column)
        total += file.metadata.num_rows * len(columns)
        plans.append((shard, columns))
    if not total:
        raise InputError(f"{shards[0]} has no rows")
    return total, (item for shard, columns in plans for item in _of_shard(shard, columns, prompt_column))


def _image_columns(shard: Path, schema: Any, image_column: str, prompt_column: str) -> list[str]:
    columns = [image_column] if image_column in schema.names else [c for c in PAIR_COLUMNS if c in schema.names]
    if not columns:
        raise InputError(f"{shard} has no column {image_column!r}; {nearest(image_column, schema.names)}")
    if prompt_column not in schema.names:
        raise InputError(f"{shard} has no column {prompt_column!r}; {nearest(prompt_column, schema.names)}")
    kind = schema.field(prompt_column).type
    text = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(text) or pa.types.is_large_string(text)):
        raise InputError(f"{shard}: column {prompt_column!r} is {kind}, not text")
    for column in columns:
        kind = schema.field(column).type
        encoded = kind.field("bytes").type if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else kind
        if not (pa.types.is_binary(encoded) or pa.types.is_large_binary(encoded)):
            raise InputError(f"{shard}: column {column!r} is {kind}, not image bytes or a struct with bytes")
    return columns


def _of_shard(shard: Path, columns: list[str], prompt_column: str) -> Iterator[Item]:
    file, row = _open(shard), 0
    try:
        for batch in file.iter_batches(ROWS, columns=[*columns, prompt_column], use_threads=False):
            for values in batch.to_pylist():
                for column in columns:
                    yield _of_cell(f"{shard.name}#{row}/{column}", values[column], values[prompt_column])
                row += 1
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{shard} is damaged after row {row}: {one_line(error)}") from error


def _of_cell(name: str, cell: bytes | Mapping[str, Any] | None, prompt: Any) -> Item:
    """An image of a data set, named by its shard, row and column."""
    encoded = cell.get("bytes") if isinstance(cell, Mapping) else cell
    if encoded is None:
        return Item(name, None, None, "no image: the cell has no bytes")
    return _with_prompt(name, encoded, prompt)

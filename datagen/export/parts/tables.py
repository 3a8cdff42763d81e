"""Parquet files by split, a row group of rows in memory, with the features that make pictures show."""

from __future__ import annotations

import collections
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from datagen import store

FILE_BYTES = 500_000_000  # what the hub recommends a file
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SPLITS = ("train", "test")


def schema(columns: Mapping[str, pa.DataType]) -> pa.Schema:
    """A schema whose metadata say to `datasets` what each column is; a column of type PICTURE shows as an image."""
    features = {name: _feature(kind) for name, kind in columns.items()}
    return pa.schema(list(columns.items()), metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: pa.DataType) -> Any:
    if kind == PICTURE:
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        inner = _feature(kind.value_type)
        return {"feature": inner, "_type": "Sequence"} if "_type" in inner else [inner]
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    return {"dtype": "float64" if pa.types.is_float64(kind) else str(kind), "_type": "Value"}


class Tables:
    """A context that writes FOLDER/SPLIT-00000-of-00001.parquet as rows are added; train is there even if empty."""

    def __init__(self, folder: Path, of: pa.Schema) -> None:
        self._folder, self._schema = folder, of
        self._rows = defaultdict[str, list[dict[str, Any]]](list)
        self._held = defaultdict[str, int](int)
        self._files = defaultdict[str, list[Path]](list)
        self._open: dict[str, tuple[BinaryIO, pq.ParquetWriter]] = {}
        self._groups = collections.Counter[str]()  # in the open file of a split

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def add(self, split: str, row: dict[str, Any], size: int) -> None:
        """Add a row, of so many bytes of pictures."""
        if self._held[split] + size > store.GROUP_BYTES:
            self._flush(split)
        self._rows[split].append(row)
        self._held[split] += size
        if len(self._rows[split]) == store.ROW_GROUP:
            self._flush(split)

    def _flush(self, split: str) -> None:
        rows = self._rows.pop(split, [])
        self._held[split] = 0
        full = self._groups[split] == store.FILE_GROUPS
        if split in self._open and (full or self._open[split][0].tell() > FILE_BYTES):
            self._close(split)
        if split not in self._open:
            path = self._folder / f"{split}-{len(self._files[split]):05d}.parquet"
            self._files[split].append(path)
            file = path.open("wb")
            self._open[split] = file, store.parquet_writer(file, self._schema)
        if rows:
            self._groups[split] += 1
            self._open[split][1].write_table(pa.Table.from_pylist(rows, self._schema))

    def _close(self, split: str) -> None:
        file, writer = self._open.pop(split)
        self._groups[split] = 0
        with file:
            writer.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            for split in list(self._rows):
                if self._rows[split]:
                    self._flush(split)
            if not self._files:
                self._flush("train")
        for split in list(self._open):
            self._close(split)
        if kind is None:
            for paths in self._files.values():
                for path in paths:  # how many they are is known now
                    path.rename(path.with_name(f"{path.stem}-of-{len(paths):05d}.parquet"))


def size_of(row: Mapping[str, Any], sides: Sequence[str] = ("chosen", "rejected")) -> int:
    """Bytes of the pictures of a pair."""
    return sum(len(row[side]["bytes"]) for side in sides)

"""The footers of all shards of a stage at once, in columns: those of a large stage are kept in one file beside them.

What is kept counts only for a file of the same inode, size and time, and only if the file that keeps it is as it was
written: it saves opening ten thousand files, and says nothing that they do not say.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.errors import RunError
from datagen.store import seal
from datagen.store.files import write_file
from datagen.store.run import Damaged, Footer, Run

FILE = ".footers.parquet"
FEW = 256  # shards, or shards that are new, for which it is not worth a file
# What is asked of every shard of a run has a column of its own; the other fields are one JSON text, as hardly two of a
# stage's shards differ in them.
FIELDS = {
    "rows": pa.int64(),
    "errors": pa.int64(),
    "seconds": pa.float64(),
    "stage_version": pa.int64(),
    "digest": pa.string(),
    "content": pa.string(),
    "made_from": pa.string(),
    "worker": pa.string(),
}
REST = "rest"
SCHEMA = pa.schema({"name": pa.string(), "mark": pa.string(), **FIELDS, REST: pa.string()})


class Footers:
    """The footers of a stage's shards in order: None for one that is not done, Damaged for one that is damaged.

    They lie in columns, and a Footer is made when it is asked for: a run of a million rows has 50,000 of them.
    """

    def __init__(self, footers: Iterable[Footer | Damaged | None] = ()) -> None:
        given = list(footers)
        self._fields: dict[str, list[Any]] = {name: [None] * len(given) for name in FIELDS}
        self._rest: list[str | Damaged | None] = [None] * len(given)
        for index, footer in enumerate(given):
            self[index] = footer

    @classmethod
    def of_columns(cls, columns: Mapping[str, list[Any]]) -> Footers:
        """Of a list for each of FIELDS and for REST, None where a shard is not done."""
        made = cls()
        made._fields, made._rest = {name: _shared(columns[name]) for name in FIELDS}, _shared(columns[REST])
        return made

    def __len__(self) -> int:
        return len(self._rest)

    def __iter__(self) -> Iterator[Footer | Damaged | None]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Footer | Damaged | None:
        rest = self._rest[index]
        if not isinstance(rest, str):
            return rest
        return Footer(**{name: column[index] for name, column in self._fields.items()}, **json.loads(rest))

    def __setitem__(self, index: int, footer: Footer | Damaged | None) -> None:
        values = dataclasses.asdict(footer) if isinstance(footer, Footer) else {}
        for name, column in self._fields.items():
            (column[index],) = _shared([values.pop(name, None)])
        (self._rest[index],) = _shared([json.dumps(values) if isinstance(footer, Footer) else footer])

    def column(self, field: str) -> list[Any]:
        """One of FIELDS of every shard, None of one that is not done."""
        return self._fields[field]

    def missing(self) -> list[int]:
        """The shards that are not done, damaged ones included."""
        return [index for index, rows in enumerate(self._fields["rows"]) if rows is None]

    def damaged(self) -> list[Damaged]:
        """Those that are not as they were written."""
        return [rest for rest in self._rest if isinstance(rest, Damaged)]

    def total(self, field: str) -> Any:
        """The sum of a number over the shards that are done."""
        return sum(value for value in self._fields[field] if value is not None)

    def counts(self, field: str) -> dict[str, int]:
        """The counts of `drops`, `remarks` or `reasons`, added up."""
        total: collections.Counter[str] = collections.Counter()
        for rest, times in collections.Counter(rest for rest in self._rest if isinstance(rest, str)).items():
            for key, count in json.loads(rest)[field].items():
                total[key] += times * count
        return dict(total)


def _shared(values: Iterable[Any]) -> list[Any]:
    """The same values, of equal texts one: digest and worker of 10,000 shards are hardly more than one each."""
    return [sys.intern(value) if isinstance(value, str) else value for value in values]


def footers(run: Run, stage: str, count: int) -> Footers:
    """The footers of a stage's first `count` shards. RunError if the disk does not let them be read."""
    folder = run.shard(stage, 0).parent
    try:
        there = run.files.marks(folder)
    except OSError as error:
        raise RunError(f"cannot read {folder} ({error.strerror}): look at this disk and who may read it") from error
    names = [f"{stage}-{index:05d}.parquet" for index in range(count)]
    kept = _kept(folder) if len(there) > FEW else {name: [] for name in SCHEMA.names}
    places = {shard: place for place, shard in enumerate(zip(kept["name"], kept["mark"], strict=True))}
    marks = [there.get(name) for name in names]
    mine = [places.get(shard) if shard[1] else None for shard in zip(names, marks, strict=True)]
    found = Footers.of_columns(
        {name: [None if place is None else kept[name][place] for place in mine] for name in (*FIELDS, REST)}
    )
    new = [index for index, (mark, place) in enumerate(zip(marks, mine, strict=True)) if mark and place is None]
    with _mapped(run.files.at_once) as mapped:
        for index, footer in zip(new, mapped(functools.partial(_read, run, stage), new), strict=True):
            found[index] = footer
    if len(there) - len(places) > FEW:
        _keep(folder, names, marks, found)
    return found


@contextlib.contextmanager
def _mapped(at_once: int) -> Iterator[Any]:
    """`map`, or one by threads where what is read is waited for."""
    if at_once == 1:
        yield map
        return
    with ThreadPoolExecutor(at_once) as pool:
        yield pool.map


def _read(run: Run, stage: str, index: int) -> Footer | Damaged | None:
    try:
        return run.footer(stage, index)
    except Damaged as damaged:
        return damaged


def _kept(folder: Path) -> dict[str, list[Any]]:
    """What is kept of a folder, in columns; empty ones if that is not as it was written, or of another version."""
    path = folder / FILE
    try:
        seal.verify(path, seal.facts(path)["data"])
        with pq.ParquetFile(path) as file:  # other ways to read it, and to make lists of it, import pandas
            table = file.read()
        return {name: table[name].to_pylist() for name in SCHEMA.names}
    except (OSError, pa.ArrowException, seal.Broken, KeyError):
        return {name: [] for name in SCHEMA.names}


def _keep(folder: Path, names: Sequence[str], marks: Sequence[str | None], found: Footers) -> None:
    """Keep footers, unless the disk refuses: they can be read anew."""
    done = [index for index, footer in enumerate(found._rest) if isinstance(footer, str)]
    columns = {"name": names, "mark": marks, **found._fields, REST: found._rest}
    arrays = [pa.array([columns[field.name][index] for index in done], field.type) for field in SCHEMA]
    table = pa.Table.from_arrays(arrays, schema=SCHEMA)
    with contextlib.suppress(RunError, OSError):
        write_file(folder / FILE, lambda file: seal.write(file, [table], dict))

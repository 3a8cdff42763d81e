"""The footers of all shards of a stage at once: those of a large stage are kept together in one file beside them.

What is kept counts only for a file of the same inode, size and time, and only if the file that keeps it is as it was
written: it saves opening ten thousand files, and says nothing that they do not say.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping
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
COLUMNS = ("name", "inode", "size", "time", "footer")
Stat = tuple[int, int, int]  # inode, size, time of change in ns


def footers(run: Run, stage: str, count: int) -> list[Footer | Damaged | None]:
    """The footers of a stage's first `count` shards: None for one that is not done, Damaged for one that is damaged.

    RunError if the disk does not let them be read.
    """
    folder = run.shard(stage, 0).parent
    there = _there(folder)
    kept = _kept(folder) if len(there) > FEW else {}
    found: list[Footer | Damaged | None] = []
    for index in range(count):
        name = f"{stage}-{index:05d}.parquet"
        stat = there.get(name)
        footer = kept.get((name, stat)) if stat else None
        found.append(footer if footer or stat is None else _read(run, stage, index))
    if len(there) - len(kept) > FEW:
        _keep(folder, {index: one for index, one in enumerate(found) if isinstance(one, Footer)}, there, stage)
    return found


def _read(run: Run, stage: str, index: int) -> Footer | Damaged | None:
    try:
        return run.footer(stage, index)
    except Damaged as damaged:
        return damaged


def _there(folder: Path) -> dict[str, Stat]:
    """The files of a folder. Listing it also makes a client of a shared disk ask for those that others wrote."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: _stat(entry.stat()) for entry in entries if entry.name.endswith(".parquet")}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RunError(f"cannot read {folder} ({error.strerror}): look at this disk and who may read it") from error


def _stat(found: os.stat_result) -> Stat:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _kept(folder: Path) -> dict[tuple[str, Stat], Footer]:
    """What is kept of a folder; {} if that is not as it was written, or of another version."""
    path = folder / FILE
    try:
        seal.verify(path, seal.facts(path)["data"])
        with pq.ParquetFile(path) as file:  # other ways to read it import pandas
            table = file.read()
        name, inode, size, time, footer = (table[column].to_pylist() for column in COLUMNS)
        values = json.loads(f"[{','.join(footer)}]")
        names = zip(name, zip(inode, size, time, strict=True), strict=True)
        return {key: Footer(**value) for key, value in zip(names, values, strict=True)}
    except (OSError, pa.ArrowException, seal.Broken, ValueError, TypeError, KeyError):
        return {}


def _keep(folder: Path, found: Mapping[int, Footer], there: Mapping[str, Stat], stage: str) -> None:
    """Keep footers, unless the disk refuses: they can be read anew."""
    rows: list[dict[str, Any]] = []
    for index, footer in found.items():
        name = f"{stage}-{index:05d}.parquet"
        inode, size, time = there[name]
        text = json.dumps(dataclasses.asdict(footer))
        rows.append(dict(zip(COLUMNS, (name, inode, size, time, text), strict=True)))
    table = pa.Table.from_pylist(rows)
    with contextlib.suppress(RunError, OSError):
        write_file(folder / FILE, lambda file: seal.write(file, [table], dict))

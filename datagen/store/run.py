"""The paths of one run directory, and the reading and writing of its shards."""

from __future__ import annotations

import bisect
import dataclasses
import functools
import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen import records
from datagen.errors import RunError, one_line
from datagen.store import files, places, seal
from datagen.store.files import row_groups
from datagen.store.places import Files

DIGITS = 16  # of the hash of rows
# Of two shards in which these are equal, either may stand for the other.
_SAME = ("rows", "errors", "content", "digest", "stage_version", "made_from", "parts")
NOT_OURS = "choose another --out, or put the file back"


class Damaged(RunError):
    """A shard that is not as it was written. It can be pickled, as it may come from a worker."""

    def __init__(self, path: Path, why: str, name: str = "") -> None:
        super().__init__(path, why, name)
        self.path, self.why, self.name = path, why, name or str(path)

    def __str__(self) -> str:
        return f"{self.name} is damaged ({self.why}): delete it and rerun, its rows are made again"


@dataclasses.dataclass(frozen=True)
class Footer:
    """What a shard file says about itself."""

    rows: int
    errors: int  # rows of failed content
    seconds: float
    digest: str  # of the recipe
    version: str  # of datagen
    drops: dict[str, int]  # reason → candidates that did not become rows
    content: str  # hash of the rows, so that what is derived from them knows when it is stale
    stage_version: int = 1  # of the stage that made it; rows of another version are made again
    remarks: dict[str, int] = dataclasses.field(default_factory=dict)  # what is to be known of rows → of how many
    made_from: str = ""  # hash of the rows that it was derived from; rows of others are made again
    # Of prompts, which are shared out: the hash of each shard's part of the rows, without those that failed.
    parts: list[str] = dataclasses.field(default_factory=list)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)  # what was learnt of all rows together
    worker: str = ""  # who made it: a process and its host
    reasons: dict[str, int] = dataclasses.field(default_factory=dict)  # why content failed → rows, the most frequent


@dataclasses.dataclass(frozen=True)
class Run:
    """The paths of one run directory and the reading and writing of its shards. Plain data, picklable.

    Of a run on an object store, `root` holds copies (`places.py`).
    """

    root: Path
    address: str = dataclasses.field(init=False)  # of a run on an object store; else ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", places.address_of(self.root))

    @property
    def files(self) -> Files:
        """The reading and writing of its files."""
        return places.files_of(self.root, self.address)

    @property
    def name(self) -> str:
        """Where it lies, in words."""
        return self.address or str(self.root)

    @property
    def dataset(self) -> Path:
        """Where the finished dataset lies."""
        return self.root / "dataset"

    def shard(self, stage: str, index: int) -> Path:
        """The file of one shard."""
        return self.root / f"tables/{stage}/{stage}-{index:05d}.parquet"

    def footer(self, stage: str, index: int) -> Footer | None:
        """The footer of a shard, None if it is not done; Damaged if it is not as it was written, or another's."""
        path = self.shard(stage, index)
        try:
            values = self.files.facts(path)
            shard = values.pop("shard")
            values.pop("data")
            footer = Footer(**values)
        except FileNotFoundError:
            return None
        except OSError as error:  # not damaged: it may be read when it is tried again, and is not ours to delete
            raise _unread(path, error) from error
        except (KeyError, TypeError, seal.Broken) as error:
            raise self.damaged(stage, index, _why(error)) from error
        if shard != path.stem:
            raise self.damaged(stage, index, f"it is the file of {shard}")
        return footer

    def verify(self, stage: str, index: int, *, again: bool = True) -> None:
        """Damaged if a bit of a done shard is not as it was written; a file is read once in each process.

        A copy that is damaged is made again once.
        """
        path = self.shard(stage, index)
        try:
            _verify(path, self.files.here(path).stat())
        except FileNotFoundError as error:
            raise self.damaged(stage, index, "it is not there") from error
        except OSError as error:
            raise _unread(path, error) from error
        except (KeyError, seal.Broken) as error:
            if again and self.files.anew(path):
                self.verify(stage, index, again=False)
            else:
                raise self.damaged(stage, index, _why(error)) from error

    def damaged(self, stage: str, index: int, why: str) -> Damaged:
        """That a shard is not as it was written."""
        path = self.shard(stage, index)
        return Damaged(path, why, self.files.name(path))

    def is_done(self, stage: str, index: int) -> bool:
        """Whether there is a shard, whatever it holds."""
        return self.files.has(self.shard(stage, index))

    def changed(self, stage: str, index: int) -> int:
        """A number that another file of a done shard does not have."""
        return self.files.here(self.shard(stage, index)).stat().st_mtime_ns

    def table(self, stage: str, index: int, columns: list[str] | None = None) -> pa.Table:
        """The rows of a done shard as an Arrow table; Damaged if they are not as they were written."""
        return pa.concat_tables(self.tables(stage, index, columns))

    def tables(self, stage: str, index: int, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The same by parts, at least one, of which one is held in memory at a time."""
        path = self.shard(stage, index)
        self.verify(stage, index)
        try:
            with pq.ParquetFile(path) as file:
                for groups in _together(file.metadata):
                    yield file.read_row_groups(groups, columns=columns)
        except (pa.ArrowException, OSError) as error:  # as it was written, so the libraries differ, or the disk
            raise RunError(f"cannot read {path}: {one_line(error)}") from error

    def part(self, stage: str, index: int, first: int, count: int, columns: Sequence[str] | None = None) -> pa.Table:
        """So many rows of a done shard from one on, or those that there are; hardly any others are read."""
        self.verify(stage, index)
        try:
            facts = self.files.here(path := self.shard(stage, index)).stat()
            file = (path, facts.st_ino, facts.st_size, facts.st_mtime_ns)
            ends = _ends(*file)
            last = bisect.bisect_left(ends, min(first + count, ends[-1]))
            some = range(bisect.bisect_right(ends, first), last + 1) if first < ends[-1] else range(1)
            wanted = None if columns is None else tuple(columns)
            table = pa.concat_tables([_read_together(*file, at, wanted) for at in some])
        except (pa.ArrowException, OSError) as error:
            raise RunError(f"cannot read {path}: {one_line(error)}") from error
        return table.slice(first - (ends[some[0] - 1] if some[0] else 0), count)

    def rows(self, stage: str, index: int, record: type) -> list[Any]:
        """The rows of a done shard as records."""
        try:
            return [row for table in self.tables(stage, index) for row in records.from_table(record, table)]
        except TypeError as error:
            raise self.damaged(stage, index, "its columns are of another version") from error

    def commit(self, stage: str, index: int, tables: pa.Table | Iterable[pa.Table], **footer: Any) -> Footer:
        """Write a shard so that it is there whole or not at all; `footer`: `Footer` without rows and content.

        Its rows are a table, or several that follow one another and are not held in memory together.
        """
        path, count, sha, made = self.shard(stage, index), 0, hashlib.sha256(), list[Footer]()

        def groups() -> Iterator[pa.Table]:
            nonlocal count
            for group in _groups(tables):
                count += group.num_rows
                _hash(sha, group)
                yield group

        def facts() -> dict[str, Any]:
            made.append(Footer(rows=count, content=sha.hexdigest()[:DIGITS], **footer))
            return {**dataclasses.asdict(made[0]), "shard": path.stem}

        def same() -> bool:
            try:
                there = self.footer(stage, index)
            except Damaged:
                return False
            return there is not None and all(getattr(there, name) == getattr(made[0], name) for name in _SAME)

        self.files.make(path, lambda file: seal.write(file, groups(), facts), same)
        return made[0]

    def settings(self) -> dict[str, Any] | None:
        """recipe.json: "digest", "version" and "recipe" of what was started here; None if nothing was.

        Raises RunError for a recipe.json that is not one of ours, whoever wrote it.
        """
        path = self.root / "recipe.json"
        try:
            values = json.loads(self.files.read(path).decode("utf-8-sig"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise RunError(f"{self.files.name(path)} cannot be read ({error.strerror}): {NOT_OURS}") from error
        except (ValueError, RecursionError) as error:
            raise RunError(f"{self.files.name(path)} is not the JSON of a run: {NOT_OURS}") from error
        kinds = {"digest": str, "version": str, "recipe": dict}
        if not isinstance(values, dict) or not all(isinstance(values.get(key), kind) for key, kind in kinds.items()):
            raise RunError(f"{self.files.name(path)} is not that of a run (no digest, version and recipe): {NOT_OURS}")
        return values

    def started(self) -> dict[str, Any]:
        """`settings` of a run that was started; RunError if none was."""
        values = self.settings()
        if values is None:
            raise RunError(f"{self.name} is not a run directory (no recipe.json): give the --out of a datagen run")
        return values


def content_hash(tables: pa.Table | Iterable[pa.Table]) -> str:
    """16 hex digits of the rows of a table, or of several that follow one another."""
    sha = hashlib.sha256()
    for group in _groups(tables):
        _hash(sha, group)
    return sha.hexdigest()[:DIGITS]


def _groups(tables: pa.Table | Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Row groups without the metadata of where they come from."""
    parts = [tables] if isinstance(tables, pa.Table) else tables
    return row_groups(table.replace_schema_metadata(None) for table in parts)


def _together(file: pq.FileMetaData) -> Iterator[list[int]]:
    """The row groups that are read at a time: a large one, or many small ones, which is far quicker."""
    some, size, rows = list[int](), 0, 0
    for group in range(file.num_row_groups):
        own, count = file.row_group(group).total_byte_size, file.row_group(group).num_rows
        if some and (size + own > files.GROUP_BYTES or rows + count > files.TOGETHER * files.ROW_GROUP):
            yield some
            some, size, rows = [], 0, 0
        some.append(group)
        size, rows = size + own, rows + count
    if some:
        yield some


def _hash(sha: Any, group: pa.Table) -> None:
    for batch in group.to_batches():
        sha.update(batch.serialize())


@functools.lru_cache(maxsize=8)
def _ends(path: Path, inode: int, size: int, mtime: int) -> list[int]:
    """At which row ends what is read of a file at a time, each part behind the other; at least one."""
    with pq.ParquetFile(path) as file:
        counts = [sum(file.metadata.row_group(group).num_rows for group in some) for some in _together(file.metadata)]
    return list(itertools.accumulate(counts))


@functools.lru_cache(maxsize=4)
def _read_together(
    path: Path, inode: int, size: int, mtime: int, place: int, columns: tuple[str, ...] | None
) -> pa.Table:
    """One of those parts; it is kept, as the next shard mostly wants rows that lie behind those of this one."""
    with pq.ParquetFile(path) as file:
        groups = next(itertools.islice(_together(file.metadata), place, None))
        return file.read_row_groups(groups, columns=None if columns is None else list(columns))


_LOOKED_AT = set[bytes]()  # files that were found to be as they were written; a run of a million rows has 80,000


def _verify(path: Path, facts: os.stat_result) -> None:
    """Broken if a file is not as it was written, unless this process has looked at it."""
    mark = f"{path} {facts.st_ino} {facts.st_size} {facts.st_mtime_ns}"
    key = hashlib.blake2b(mark.encode("utf-8", "surrogateescape"), digest_size=16).digest()
    if key not in _LOOKED_AT:
        seal.verify(path, seal.facts(path)["data"])
        _LOOKED_AT.add(key)


def _why(error: Exception) -> str:
    """The reason in one line."""
    return str(error) if isinstance(error, seal.Broken) else "it is of another version of datagen"


def _unread(path: Path, error: OSError) -> RunError:
    return RunError(f"cannot read {path} ({error.strerror or error}): look at this disk and who may read it")

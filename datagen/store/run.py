"""The paths of one run directory, and the reading and writing of its shards."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen import records
from datagen.errors import RunError, one_line
from datagen.store import seal
from datagen.store.files import write_file

NOT_OURS = "choose another --out, or put the file back"


class Damaged(RunError):
    """A shard that is not as it was written. It can be pickled, as it may come from a worker."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why)
        self.path, self.why = path, why

    def __str__(self) -> str:
        return f"{self.path} is damaged ({self.why}): delete it and rerun, its rows are made again"


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


@dataclasses.dataclass(frozen=True)
class Run:
    """The paths of one run directory and the reading and writing of its shards. Plain data, picklable."""

    root: Path

    @property
    def dataset(self) -> Path:
        """Where the finished dataset lies."""
        return self.root / "dataset"

    def shard(self, stage: str, index: int) -> Path:
        """The file of one shard."""
        return self.root / "tables" / stage / f"{stage}-{index:05d}.parquet"

    def footer(self, stage: str, index: int) -> Footer | None:
        """The footer of a shard, None if it is not done; Damaged if it is not as it was written, or another's."""
        path = self.shard(stage, index)
        try:
            values = seal.facts(path)
            shard = values.pop("shard")
            values.pop("data")
            footer = Footer(**values)
        except FileNotFoundError:
            return None
        except OSError as error:  # not damaged: it may be read when it is tried again, and is not ours to delete
            raise _unread(path, error) from error
        except (KeyError, TypeError, seal.Broken) as error:
            raise Damaged(path, _why(error)) from error
        if shard != path.stem:
            raise Damaged(path, f"it is the file of {shard}")
        return footer

    def verify(self, stage: str, index: int) -> None:
        """Damaged if a bit of a done shard is not as it was written; a file is read once in each process."""
        path = self.shard(stage, index)
        try:
            facts = path.stat()
            _verified(path, facts.st_ino, facts.st_size, facts.st_mtime_ns)
        except FileNotFoundError as error:
            raise Damaged(path, "it is not there") from error
        except OSError as error:
            raise _unread(path, error) from error
        except (KeyError, seal.Broken) as error:
            raise Damaged(path, _why(error)) from error

    def table(self, stage: str, index: int, columns: list[str] | None = None) -> pa.Table:
        """The rows of a done shard as an Arrow table; Damaged if they are not as they were written."""
        path = self.shard(stage, index)
        self.verify(stage, index)
        try:
            with pq.ParquetFile(path) as file:
                return file.read(columns=columns)
        except (pa.ArrowException, OSError) as error:  # as it was written, so the libraries differ, or the disk
            raise RunError(f"cannot read {path}: {one_line(error)}") from error

    def rows(self, stage: str, index: int, record: type) -> list[Any]:
        """The rows of a done shard as records."""
        table = self.table(stage, index)
        try:
            return records.from_table(record, table)
        except TypeError as error:
            raise Damaged(self.shard(stage, index), "its columns are of another version") from error

    def commit(self, stage: str, index: int, table: pa.Table, **footer: Any) -> Footer:
        """Write a shard so that it is there whole or not at all; `footer`: `Footer` without rows and content."""
        table = table.replace_schema_metadata(None)
        made = Footer(rows=table.num_rows, content=content_hash(table), **footer)
        path = self.shard(stage, index)
        facts = {**dataclasses.asdict(made), "shard": path.stem}
        write_file(path, lambda file: seal.write(file, table, facts))
        return made

    def settings(self) -> dict[str, Any] | None:
        """recipe.json: "digest", "version" and "recipe" of what was started here; None if nothing was.

        Raises RunError for a recipe.json that is not one of ours, whoever wrote it.
        """
        path = self.root / "recipe.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8-sig"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise RunError(f"{path} cannot be read ({error.strerror}): {NOT_OURS}") from error
        except (ValueError, RecursionError) as error:
            raise RunError(f"{path} is not the JSON of a run: {NOT_OURS}") from error
        kinds = {"digest": str, "version": str, "recipe": dict}
        if not isinstance(values, dict) or not all(isinstance(values.get(key), kind) for key, kind in kinds.items()):
            raise RunError(f"{path} is not that of a run (no digest, version and recipe): {NOT_OURS}")
        return values

    def started(self) -> dict[str, Any]:
        """`settings` of a run that was started; RunError if none was."""
        values = self.settings()
        if values is None:
            raise RunError(f"{self.root} is not a run directory (no recipe.json): give the --out of a datagen run")
        return values


def content_hash(table: pa.Table) -> str:
    """16 hex digits of a table's rows."""
    sink = hashlib.sha256()
    for batch in table.combine_chunks().to_batches():
        sink.update(batch.serialize())
    return sink.hexdigest()[:16]


@functools.cache  # an entry a shard; what is raised is not kept
def _verified(path: Path, inode: int, size: int, mtime: int) -> None:
    seal.verify(path, seal.facts(path)["data"])


def _why(error: Exception) -> str:
    """The reason in one line."""
    return str(error) if isinstance(error, seal.Broken) else "it is of another version of datagen"


def _unread(path: Path, error: OSError) -> RunError:
    return RunError(f"cannot read {path} ({error.strerror or error}): look at this disk and who may read it")

"""A run directory: one Parquet file per shard and stage, and nothing that could disagree with it.

A shard is written under a temporary name, synced and renamed, so the file's existence is the only progress marker;
counts, seconds and digests stand in its footer. One process at a time writes a run: it holds a lock that the
system releases when it ends.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen import records
from datagen.errors import RunError

TEMPORARY = ".tmp"
ROW_GROUP = 100  # rows with images; what Hugging Face uses for image datasets, so that a viewer reads little


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
        """The footer of a shard, None if it is not done; RunError if the file is damaged."""
        path = self.shard(stage, index)
        try:
            return Footer(**json.loads(pq.read_metadata(path).metadata[b"datagen"]))
        except FileNotFoundError:
            return None
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise _damaged(path) from error

    def table(self, stage: str, index: int, columns: list[str] | None = None) -> pa.Table:
        """The rows of a done shard as an Arrow table; RunError if the file is damaged."""
        path = self.shard(stage, index)
        try:
            with pq.ParquetFile(path) as file:
                return file.read(columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path) from error

    def rows(self, stage: str, index: int, record: type) -> list[Any]:
        """The rows of a done shard as records."""
        table = self.table(stage, index)
        try:
            return records.from_table(record, table)
        except TypeError as error:  # columns of another version
            raise _damaged(self.shard(stage, index)) from error

    def commit(self, stage: str, index: int, table: pa.Table, **footer: Any) -> Footer:
        """Write a shard so that it is there whole or not at all; `footer`: `Footer` without rows and content."""
        made = Footer(rows=table.num_rows, content=content_hash(table), **footer)
        table = table.replace_schema_metadata({"datagen": json.dumps(dataclasses.asdict(made), sort_keys=True)})

        def fill(file: Any) -> None:
            with parquet_writer(file, table.schema) as writer:
                writer.write_table(table, row_group_size=ROW_GROUP)

        write_file(self.shard(stage, index), fill)
        return made

    def discard(self, stage: str, index: int) -> None:
        """Delete a shard, because what it was made from has changed."""
        self.shard(stage, index).unlink(missing_ok=True)

    def settings(self) -> dict[str, Any] | None:
        """recipe.json: what the run was started with; None if nothing was started here."""
        path = self.root / "recipe.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read: choose another --out, or put the file back") from error
        return values if isinstance(values, dict) else None

    def holder(self) -> str | None:
        """The process that holds this directory, in words; None if no such process can be seen from here."""
        try:
            holder = json.loads((self.root / ".lock").read_text(encoding="utf-8"))
            if holder["host"] == socket.gethostname():
                os.kill(holder["pid"], 0)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return f"process {holder['pid']} on {holder['host']} since {holder['started']}"


@contextlib.contextmanager
def hold(run: Run, settings: dict[str, Any]) -> Iterator[None]:
    """Hold the run directory for one process: make it, lock it, check that it is this recipe's, clear leftovers.

    `settings` is what recipe.json holds: "digest", "version" and "recipe". Raises RunError if another process holds
    it (naming who), if it belongs to another recipe (naming the keys), if it cannot be written or holds other files.
    """
    new = not run.root.exists()
    with writing(run.root):
        run.root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(run.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            who = run.holder() or "another process"
            raise RunError(f"{run.root} is in use by {who}: wait for it or choose another --out") from error
        with writing(run.root):
            me = {"pid": os.getpid(), "host": socket.gethostname(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(me).encode(), 0)
            try:
                _claim(run, settings)
            except BaseException:
                if new:  # a run that cannot start leaves nothing behind
                    shutil.rmtree(run.root, ignore_errors=True)
                raise
            _clear(run)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                _clear(run)
                os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _claim(run: Run, settings: dict[str, Any]) -> None:
    """Write recipe.json, or compare with the one that is there."""
    before = run.settings()
    if before is None:
        others = sorted(path.name for path in run.root.iterdir() if not path.name.startswith("."))
        if others:
            raise RunError(f"{run.root} holds other files ({', '.join(others[:3])}): give a new or an empty directory")
        text = json.dumps(settings, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
        write_file(run.root / "recipe.json", lambda file: file.write(text.encode()))
    elif before.get("digest") != settings["digest"]:
        old, new = _flat(before.get("recipe", {})), _flat(settings["recipe"])
        keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
        changes = ", ".join(f"{key} {old.get(key)!r} → {new.get(key)!r}" for key in keys[:5])
        more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
        raise RunError(
            f"{run.root} was started with other settings ({changes}{more}): choose another --out, or the same settings"
        )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one level of dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _clear(run: Run) -> None:
    """Remove what a killed process left half-written."""
    for leftover in [*run.root.glob(f".*{TEMPORARY}"), *run.root.glob(f"tables/*/.*{TEMPORARY}")]:
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


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
            with temporary.open("wb") as file:
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


def content_hash(table: pa.Table) -> str:
    """16 hex digits of a table's rows."""
    sink = hashlib.sha256()
    for batch in table.combine_chunks().to_batches():
        sink.update(batch.serialize())
    return sink.hexdigest()[:16]


def _damaged(path: Path) -> RunError:
    size = path.stat().st_size if path.exists() else 0
    return RunError(f"{path} is not a complete shard ({size} bytes): delete it and rerun, its rows are made again")

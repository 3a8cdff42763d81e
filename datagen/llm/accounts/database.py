"""One sqlite3 file that several threads and processes write at once: how it is opened, locked and read.

Write-ahead log, so that kill -9 loses no committed row. The system's refusals become one line: a full disk or a dead
disk is a MachineryError, a folder that cannot be used a RunError, a damaged file `Damaged`, which its owner handles.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datagen.errors import MachineryError, RunError
from datagen.store import writing

PATIENCE = 60.0  # seconds that a writer waits for the other writers of a file

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_REFUSED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}


class Damaged(Exception):
    """The file is not an sqlite3 database, or a damaged one. Never leaves this package."""


class Database:
    """A database file with `schema` (statements), made if it is not there; `version` is the schema's number."""

    def __init__(self, path: Path, schema: str, version: int) -> None:
        self.path = path
        self._schema, self._version = schema, version
        self._file: int | None = None  # the inode that was opened, which another process may have renamed since
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open the file now instead of at its first use, to meet its errors here."""
        with self._lock:
            self._connected()

    def read(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self._lock, _in_words(self.path):
            return self._connected().execute(sql, values).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock of the file; what is executed inside is committed whole, or not at all."""
        with self._lock, _in_words(self.path):
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def set_aside(self) -> Path | None:
        """Rename a damaged file and open a new one; None if another process has done so already."""
        with self._lock:
            aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
            with writing(self.path), _locked(self.path.parent):
                ours = self.path.exists() and self.path.stat().st_ino == self._file
                if ours:
                    for end in ("", "-wal", "-shm"):
                        with contextlib.suppress(FileNotFoundError):
                            self.path.with_name(self.path.name + end).rename(aside.with_name(aside.name + end))
            self._connection = self._open()
            return aside if ours else None

    def close(self) -> None:
        """Close the file; harmless if done twice, and a later use opens it again."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def _connected(self) -> sqlite3.Connection:
        """The connection; a forked child opens its own, because one connection in two processes ruins the file."""
        if self._connection is None or self._process != os.getpid():
            self._process, self._connection = os.getpid(), self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        """Open and if need be create the file. One process at a time: changing to WAL does not wait for others."""
        with writing(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with writing(self.path), _locked(self.path.parent), _in_words(self.path):
            connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
            connection.execute("SELECT 1")  # sqlite3 opens the file only now
            self._file = self.path.stat().st_ino if self.path.exists() else None
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if found > self._version or (found == 0 and tables):
                connection.close()
                whose = "was made by a newer version" if found else "belongs to another program"
                raise RunError(f"{self.path} {whose}: name another file, or upgrade")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            if found == 0:
                connection.executescript(f"BEGIN; {self._schema}; PRAGMA user_version = {self._version}; COMMIT")
            return connection


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Be the only process that opens or renames databases of a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Turn sqlite3's errors into ours."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGED:
            raise Damaged(str(error)) from error
        if code in _REFUSED:
            raise RunError(f"cannot write {path}: {error}; choose a folder that you may write to") from error
        if code == sqlite3.SQLITE_FULL:
            raise MachineryError(
                f"disk full while writing {path}: free some space and rerun, what was written is kept"
            ) from error
        if code == sqlite3.SQLITE_BUSY:
            raise MachineryError(f"{path} was locked by other processes for {PATIENCE:.0f} s: rerun it") from error
        raise MachineryError(f"cannot use {path} ({error}): it must lie on a sound local disk") from error


def salvage(path: Path, table: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a damaged file that can still be read, from its beginning and from its end; some come twice."""
    for order in ("ASC", "DESC"):
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection,
        ):
            yield from connection.execute(f"SELECT * FROM {table} NOT INDEXED ORDER BY rowid {order}")


def read_only(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a query on a file that may be in use, or lie on a read-only disk; [] if there is no such file."""
    if not path.exists():
        return []
    # Opening a database in WAL mode makes files next to it, unless `immutable` says that no process writes: so it
    # is where its log is not there, and where the disk is read-only.
    modes = ["immutable=1", "mode=ro"]
    if path.with_name(f"{path.name}-wal").exists():
        modes.reverse()
    for mode in modes:
        try:
            with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as connection:
                return connection.execute(sql).fetchall()
        except sqlite3.DatabaseError as error:
            refused = error
    with _in_words(path):
        raise refused

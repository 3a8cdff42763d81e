"""A mapping that lies in a temporary file, for what is asked in another order than it comes in."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from datagen.errors import RunError


class OnDisk:
    """A context that holds values of JSON by name; what is asked is in memory. RunError if there is no room for it."""

    def __init__(self, items: Iterable[tuple[str, Any]]) -> None:
        self._base = sqlite3.connect("")  # a file of its own in the folder for such files, which goes with it
        rows = ((name, json.dumps(value)) for name, value in items)
        try:
            self._base.execute("CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")
            self._base.executemany("INSERT INTO kept VALUES (?, ?)", rows)
        except sqlite3.OperationalError as error:
            raise RunError(f"no room for a temporary file ({error}): free some space, or set SQLITE_TMPDIR") from error

    def get(self, name: str) -> Any:
        """The value of a name, None if there is none."""
        row = self._base.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def __len__(self) -> int:
        (count,) = self._base.execute("SELECT count(*) FROM kept").fetchone()
        return int(count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._base.close()

"""The cache of replies: what a server was paid for is kept, keyed by all that decided it.

It stores whole completions as the server sent them, so that reading them differently later buys nothing again, and
asking differently never finds the old reply. sqlite3 and JSON, no pickle; any number of threads and processes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from datagen.llm.accounts.database import Damaged, Database, salvage
from datagen.llm.messages import Request
from datagen.llm.typed.schemas import schema_of
from datagen.llm.words import line

VERSION = 1

_SCHEMA = """
CREATE TABLE replies (key BLOB PRIMARY KEY, model TEXT NOT NULL, time REAL NOT NULL, zipped INTEGER NOT NULL,
                      completion BLOB NOT NULL)
"""
_INSERT = "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?)"

Result = TypeVar("Result")

_compact = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps would build an encoder at each call


def key(request: Request, model: str, parameters: Mapping[str, Any] | None = None) -> str:
    """64 hex digits of what decides a reply: never the server's address, never the stage.

    `parameters` are the further ones that the body of each call has.
    """
    canonical: list[Any] = [
        VERSION,
        model,
        [[part.role, part.text, [_image_hash(image) for image in part.images]] for part in request.messages],
        None if request.reply is None else _schema_hash(request.reply),
        request.sample,
        float(request.temperature),
        request.max_tokens,
    ]
    if parameters:
        canonical.append(sorted(parameters.items()))
    if request.top_logprobs or any(part.detail for part in request.messages):  # keys of before stay as they were
        canonical.append([request.top_logprobs, [part.detail for part in request.messages]])
    return hashlib.sha256(_compact(canonical).encode()).hexdigest()


# Judges ask about one image several times in a row; looking it up by its bytes reads them once an object.
@functools.lru_cache(maxsize=128)
def _image_hash(image: bytes) -> str:
    return hashlib.sha256(image).hexdigest()


@functools.lru_cache(maxsize=256)
def _schema_hash(reply: type[BaseModel]) -> str:
    # As it is sent, so that a bound tightened in our reading buys nothing again unless it is sent to the server. The
    # order of the fields stays: a model writes them in that order.
    return hashlib.sha256(json.dumps(schema_of(reply)).encode()).hexdigest()


def default_path() -> Path:
    """$DATAGEN_CACHE (a folder, or a file that ends in .sqlite), else `datagen` in the user's cache directory."""
    if given := os.environ.get("DATAGEN_CACHE"):
        path = Path(given).expanduser()
        return path if path.suffix == ".sqlite" else path / "replies.sqlite"
    home = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(home) if Path(home).is_absolute() else Path.home() / ".cache"
    return folder / "datagen" / "replies.sqlite"


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


class Cache:
    """Key → completion. A damaged file is set aside, which is reported once in one line; its rows are asked for again.

    Raises RunError if the folder cannot be written, MachineryError on a full disk. A first reply stays: what is put
    under a key that is there already, is dropped.
    """

    def __init__(self, path: Path, say: Callable[[str], None] = _to_stderr) -> None:
        self.path = path
        self._say = say
        self._database = Database(path, _SCHEMA, VERSION)
        self._recovering(self._database.open)

    def get(self, key: str) -> dict[str, Any] | None:
        """The completion that was put under a key; None if there is none."""
        digest = bytes.fromhex(key)
        sql = "SELECT zipped, completion FROM replies WHERE key = ?"
        rows = self._recovering(lambda: self._database.read(sql, (digest,)))
        if not rows:
            return None
        zipped, stored = rows[0]
        try:
            completion = json.loads(zlib.decompress(stored) if zipped else stored)
        except (zlib.error, ValueError):
            completion = None
        if not isinstance(completion, dict):  # sqlite3 does not notice a flipped bit inside a row
            self.drop(key)
            return None
        return completion

    def drop(self, key: str) -> None:
        """Forget the completion of a key: what it refers to is gone."""
        with self._database.transaction() as database:
            database.execute("DELETE FROM replies WHERE key = ?", (bytes.fromhex(key),))

    def put_many(self, rows: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Store completions by key in one transaction: all are there when this returns."""
        now = time.time()
        packed = [(bytes.fromhex(key), line(str(reply.get("model", ""))), now, *_pack(reply)) for key, reply in rows]
        if packed:
            self._recovering(lambda: self._insert(packed))

    def close(self) -> None:
        """Close the file; harmless if done twice."""
        self._database.close()

    def _insert(self, packed: list[tuple[bytes, str, float, int, bytes]]) -> None:
        with self._database.transaction() as database:
            database.executemany(_INSERT, packed)

    def _recovering(self, work: Callable[[], Result]) -> Result:
        """Do work; if the file turns out damaged, put a new one in its place and do it again."""
        try:
            return work()
        except Damaged as damage:
            if aside := self._database.set_aside():
                with self._database.transaction() as database:
                    saved = database.executemany(_INSERT, salvage(aside, "replies")).rowcount
                self._say(f"{self.path} is damaged ({damage}): kept as {aside}, {saved} replies saved from it")
            return work()


def _pack(completion: dict[str, Any]) -> tuple[int, bytes]:
    """Whether it is compressed, and the bytes: always, as zlib's checksum meets a bit that flips in them."""
    return 1, zlib.compress(_compact(completion).encode(), 1)

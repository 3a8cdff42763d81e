"""What a disk can do to a run: calls of the system that fail or are slow, and files that have changed."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

SLOW_S = 0.02
# What fails → the call of the system that does, and its error. A full disk may be told of when bytes are synced.
CALLS = {
    "no space left (ENOSPC), when a file is opened": ("open", errno.ENOSPC),
    "no space left (ENOSPC), when bytes are synced": ("fsync", errno.ENOSPC),
    "quota exceeded (EDQUOT)": ("fsync", errno.EDQUOT),
    "input/output error (EIO) on rename": ("replace", errno.EIO),
    "input/output error (EIO) on sync": ("fsync", errno.EIO),
    "input/output error (EIO) on reading": ("read", errno.EIO),
    "a folder that is read-only (EROFS)": ("open", errno.EROFS),
    "a folder that may not be written (EACCES)": ("open", errno.EACCES),
    "a disk that is slow": ("fsync", 0),
}


@contextlib.contextmanager
def failing(call: str, code: int, number: int) -> Iterator[list[str]]:
    """Let the `number`-th call on a run's shards, and all that follow, fail; 0 makes each slow. Gives what was met."""
    met: list[str] = []
    count = 0

    def due(what: object) -> None:
        nonlocal count
        count += 1
        if not code:
            time.sleep(SLOW_S)
        if count >= number:
            met.append(str(what))
            if code:
                raise OSError(code, os.strerror(code), str(what))

    opened, replaced, synced = Path.open, Path.replace, os.fsync

    def open_(self: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        writes = "w" in mode
        if "tables" in self.parts and (call == "open" if writes else call == "read" and self.suffix == ".parquet"):
            due(self)
        return opened(self, mode, *args, **options)

    def replace(self: Path, target: Path) -> Path:
        if call == "replace" and "tables" in self.parts:
            due(target)
        return replaced(self, target)

    def fsync(descriptor: int) -> None:
        if call == "fsync":
            due("a descriptor")
        synced(descriptor)

    with (
        mock.patch.object(Path, "open", open_),
        mock.patch.object(Path, "replace", replace),
        mock.patch.object(os, "fsync", fsync),
    ):
        yield met


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flip(place: float) -> Callable[[Path], None]:
    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[int(len(data) * place)] ^= 4
        path.write_bytes(data)

    return flip


def _exchange(path: Path) -> None:
    other = next(one for one in sorted(path.parent.glob(f"{path.parent.name}-*.parquet")) if one != path)
    path.write_bytes(other.read_bytes())


# What has become of a shard → the change.
DAMAGES: dict[str, Callable[[Path], None]] = {
    "a truncated shard": _cut,
    "an empty shard": _empty,
    "a flipped bit in the rows": _flip(0.3),
    "a flipped bit in the footer": _flip(0.98),
    "another shard's file": _exchange,
}

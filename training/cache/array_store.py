"""Arrays by key on disk: immutable files of some rows each, memory-mapped, added to by any number of processes.

A file appears whole or not at all; a row that does not agree with its checksum is never given out.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from training.errors import TrainingError

KEY = 16  # bytes of a row's key
SUFFIX = ".safetensors"
LEFT_OVER = 3600.0  # seconds after which an unfinished file is nobody's any more


class Damaged(Exception):
    """A file of the store that is not what was written."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path


class Part:
    """One file: `keys` and `sums` read, the arrays mapped when a row of them is first read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with open(path, "rb") as file:
                self.start = 8 + int.from_bytes(file.read(8), "little")
                self.fields = json.loads(file.read(self.start - 8))
                del self.fields["__metadata__"]
                end = max(field["data_offsets"][1] for field in self.fields.values())
                if os.fstat(file.fileno()).st_size != self.start + end:
                    raise Damaged(path)
            self.keys = np.array(self._map("keys"))
            self.sums = np.array(self._map("sums"))
        except (OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
            raise Damaged(path) from error
        self.arrays: dict[str, np.ndarray] | None = None
        self.sound = np.zeros(len(self.keys), dtype=bool)

    def row(self, row: int) -> dict[str, np.ndarray]:
        """The arrays of a row, checked when it is read for the first time."""
        if self.arrays is None:
            try:
                self.arrays = {name: self._map(name) for name in sorted(self.fields) if name not in ("keys", "sums")}
            except (OSError, ValueError) as error:
                raise Damaged(self.path) from error
        values = {name: array[row] for name, array in self.arrays.items()}
        if not self.sound[row]:
            if checksum(self.keys[row].tobytes(), values) != self.sums[row]:
                raise Damaged(self.path)
            self.sound[row] = True
        return values

    def _map(self, name: str) -> np.ndarray:
        field = self.fields[name]
        kind = {"U8": np.uint8, "U32": np.uint32, "F32": np.float32, "F16": np.float16}[field["dtype"]]
        offset = self.start + field["data_offsets"][0]
        return np.asarray(np.memmap(self.path, dtype=kind, mode="r", offset=offset, shape=tuple(field["shape"])))


def checksum(key: bytes, values: Mapping[str, np.ndarray]) -> int:
    """CRC-32 of a row: its key and its arrays in order of their names."""
    total = zlib.crc32(key)
    for name in sorted(values):
        total = zlib.crc32(np.ascontiguousarray(values[name]).data, total)
    return total


class Store:
    """The rows of a folder by key. Files that are not sound are as good as not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index: dict[bytes, tuple[Part, int]] = {}
        self._seen: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Take in what was added since, by whomever."""
        try:
            names = sorted(name for name in os.listdir(self.folder) if name.endswith(SUFFIX))
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in names:
            if name in self._seen:
                continue
            self._seen.add(name)
            with contextlib.suppress(Damaged):
                part = Part(self.folder / name)
                for row, key in enumerate(part.keys):
                    self.index.setdefault(key.tobytes(), (part, row))

    def read(self, keys: Sequence[bytes]) -> dict[str, np.ndarray]:
        """The arrays of N known keys, each (N, …). Raises Damaged."""
        rows = [part.row(row) for part, row in (self.index[key] for key in keys)]
        return {name: np.stack([values[name] for values in rows]) for name in rows[0]}

    def add(self, keys: Sequence[bytes], arrays: Mapping[str, np.ndarray]) -> None:
        """Write N rows, each array (N, …). Raises TrainingError where nothing can be written; what stands stays."""
        names = sorted(arrays)
        sums = [checksum(key, {name: arrays[name][i] for name in names}) for i, key in enumerate(keys)]
        content: dict[str, np.ndarray] = {name: np.ascontiguousarray(arrays[name]) for name in names}
        content["keys"] = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY)
        content["sums"] = np.array(sums, dtype=np.uint32)
        name = hashlib.sha256(b"".join(keys)).hexdigest()[:32] + SUFFIX
        staging = self.folder / f".{uuid.uuid4().hex}.tmp"
        with self._writing():
            try:
                with open(staging, "wb") as file:
                    file.write(save(content, metadata={"made": "datagen training cache"}))
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(staging, self.folder / name)
            finally:
                staging.unlink(missing_ok=True)
        self._seen.discard(name)  # a damaged one of this name was replaced
        self.refresh()

    def discard(self, path: Path) -> None:
        """Remove a damaged file and forget its rows."""
        with self._writing():
            path.unlink(missing_ok=True)
        self.index.clear()
        self._seen.clear()
        self.refresh()

    @contextlib.contextmanager
    def claim(self, work: bytes, wait: bool) -> Iterator[bool]:
        """Whether this process may do a piece of work: False if another does it now, unless it is waited for.

        The claim ends with the process, however that ends. Where files cannot be locked everybody may do everything.
        """
        offset = int.from_bytes(hashlib.sha256(work).digest()[:5], "big")
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = open(self.folder / "lock", "ab")
        with lock:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, offset)
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    yield False
                    return
            yield True

    def clean(self) -> None:
        """Remove what killed processes left unfinished."""
        for path in self.folder.glob(".*.tmp"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < time.time() - LEFT_OVER:
                    path.unlink()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"the cache at {self.folder} cannot be written ({error.strerror}): free or choose a place with "
                "DATAGEN_TRAINING_CACHE=FOLDER; what is cached stays, and the same command goes on from there"
            ) from error

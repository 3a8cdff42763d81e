"""Where the files of a run lie: in its folder; or on an object store, whose copies the folder then holds.

What lies on the store is the run, and the copies may be deleted at any time. A shard is made there by one request that
succeeds only if there is none, so that it is there whole or not at all, as by a rename; one that is made anew is
replaced whole. Whoever knows no object stores works with copies, which are looked at before they are taken.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from datagen import objects
from datagen.objects import Address, Bucket
from datagen.store import seal, sums
from datagen.store.files import write_file, writing

MARK = ".address"  # in a folder that holds copies: of what
Fill = Callable[[Any], object]
Same = Callable[[], bool]  # whether what is there is as good as what was to be made


class Files(Protocol):
    """The files of a run, by the paths that they have, or would have, in its folder."""

    at_once: int  # requests that are worth making at the same time

    def name(self, path: Path) -> str:
        """A file in words."""

    def names(self) -> list[str]:
        """What lies in the run, folders among it, in order. OSError or RunError if that cannot be read."""

    def marks(self, folder: Path) -> dict[str, str]:
        """The tables right in a folder → what another file of that name would not have."""

    def facts(self, path: Path) -> dict[str, Any]:
        """As `seal.facts`; FileNotFoundError if there is no such shard."""

    def read(self, path: Path) -> bytes:
        """A small file; FileNotFoundError or NotADirectoryError if there is none."""

    def has(self, path: Path) -> bool:
        """Whether there is a file."""

    def here(self, path: Path) -> Path:
        """A file on this disk; FileNotFoundError if there is none."""

    def anew(self, path: Path) -> bool:
        """Whether a damaged file was a copy, and has been forgotten."""

    def make(self, path: Path, fill: Fill, same: Same) -> None:
        """Make a file whole or not at all; one that is there is replaced unless it is the same."""

    def write(self, path: Path, fill: Fill) -> None:
        """Make or replace a file."""

    def remove(self, path: Path) -> None:
        """Remove a file that may be there."""

    def pull(self, folder: Path) -> None:
        """Have a published folder here as it was published, if it was."""

    def publish(self, folder: Path) -> bool:
        """Publish a folder that is finished here, with its digests; whether something had to be done for it."""

    def is_published(self, folder: Path) -> bool:
        """Whether it is published as it is here."""


class Folder:
    """The files of a run whose folder is all there is of it."""

    at_once = 1

    def __init__(self, root: Path) -> None:
        self.root = root

    def name(self, path: Path) -> str:
        return str(path)

    def names(self) -> list[str]:
        return sorted(os.listdir(self.root))

    def marks(self, folder: Path) -> dict[str, str]:
        """Listing a folder also makes a client of a shared disk ask for those files that others wrote."""
        try:
            with os.scandir(folder) as entries:
                return {entry.name: _mark(entry.stat()) for entry in entries if entry.name.endswith(".parquet")}
        except FileNotFoundError:
            return {}

    def facts(self, path: Path) -> dict[str, Any]:
        return seal.facts(path)

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def has(self, path: Path) -> bool:
        return path.exists()

    def here(self, path: Path) -> Path:
        return path

    def anew(self, path: Path) -> bool:
        return False

    def make(self, path: Path, fill: Fill, same: Same) -> None:
        write_file(path, fill)

    def write(self, path: Path, fill: Fill) -> None:
        write_file(path, fill)

    def remove(self, path: Path) -> None:
        with writing(path):
            path.unlink(missing_ok=True)

    def pull(self, folder: Path) -> None:
        pass

    def publish(self, folder: Path) -> bool:
        return False

    def is_published(self, folder: Path) -> bool:
        return True


class Copies:
    """The files of a run on an object store, with copies in a folder of this machine."""

    at_once = 16

    def __init__(self, root: Path, address: Address) -> None:
        self.root, self.address = root, address
        self._seen = set[Path]()  # copies that were found to be of what lies on the store
        self._lock = threading.Lock()

    @property
    def bucket(self) -> Bucket:
        """Where the run lies."""
        return objects.opened(self.address)

    def name(self, path: Path) -> str:
        return f"{self.address}/{self._key(path)}"

    def names(self) -> list[str]:
        return list(self.bucket.holds())

    def marks(self, folder: Path) -> dict[str, str]:
        prefix = self._key(folder)
        found = {key.removeprefix(f"{prefix}/"): entry for key, entry in self.bucket.list(prefix).items()}
        return {
            name: f"{entry.version} {entry.size} {entry.changed}"
            for name, entry in found.items()
            if "/" not in name and name.endswith(".parquet")
        }

    def facts(self, path: Path) -> dict[str, Any]:
        return seal.stated(self._footer(path))

    def read(self, path: Path) -> bytes:
        data = self.bucket.get(self._key(path))
        if data is None:
            raise FileNotFoundError(2, "there is no such object", self.name(path))
        return data

    def has(self, path: Path) -> bool:
        return self.bucket.entry(self._key(path)) is not None

    def here(self, path: Path) -> Path:
        with self._lock:
            if not (path in self._seen and path.exists()):
                if not self._is_copy(path):
                    data = self.read(path)
                    write_file(path, lambda file: file.write(data))
                self._seen.add(path)
        return path

    def anew(self, path: Path) -> bool:
        with self._lock:
            known = path in self._seen
            self._seen.discard(path)
        with writing(path):
            path.unlink(missing_ok=True)
        return known

    def make(self, path: Path, fill: Fill, same: Same) -> None:
        write_file(path, fill)
        data = path.read_bytes()
        if not self.bucket.put_new(self._key(path), data):
            if same():
                self.anew(path)
                return
            self.bucket.put(self._key(path), data)
        self._seen.add(path)

    def write(self, path: Path, fill: Fill) -> None:
        write_file(path, fill)
        self.bucket.put(self._key(path), path.read_bytes())

    def remove(self, path: Path) -> None:
        self.bucket.delete(self._key(path))
        self.anew(path)

    def pull(self, folder: Path) -> None:
        stated = self.bucket.get(self._key(sums.beside(folder)))
        if stated is None or stated == _content(sums.beside(folder)):
            return
        for key in self.bucket.list(self._key(folder)):
            data = self.bucket.get(key)
            if data is not None:
                write_file(self.root / key, functools.partial(_fill, data))
        write_file(sums.beside(folder), functools.partial(_fill, stated))

    def publish(self, folder: Path) -> bool:
        """The digests come last, as they say that all else is there."""
        if self.is_published(folder):
            return False
        beside, prefix = sums.beside(folder), self._key(folder)
        self.bucket.delete(self._key(beside))
        files = {self._key(path): path for path in sorted(folder.rglob("*")) if path.is_file()}
        for key in self.bucket.list(prefix).keys() - files.keys():
            self.bucket.delete(key)
        for key, path in files.items():
            self.bucket.put(key, path)
        self.bucket.put(self._key(beside), beside.read_bytes())
        return True

    def is_published(self, folder: Path) -> bool:
        own = _content(sums.beside(folder))
        if own is None or self.bucket.get(self._key(sums.beside(folder))) != own:
            return False
        there = {key: entry.size for key, entry in self.bucket.list(self._key(folder)).items()}
        return there == {self._key(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _footer(self, path: Path) -> bytes:
        """The footer of a shard on the store, mostly by one request."""
        key = self._key(path)
        last = self.bucket.last(key, seal.MOSTLY)
        if last is not None and seal.MOSTLY < (size := seal.footer_size(last)):
            last = self.bucket.last(key, size)
        if last is None:
            raise FileNotFoundError(2, "there is no such object", self.name(path))
        return seal.cut(last)

    def _is_copy(self, path: Path) -> bool:
        """Whether a file here is of what lies on the store, by the digests in both footers."""
        if not path.exists():
            return False
        try:
            return self._footer(path) == seal.cut(path.read_bytes())
        except (seal.Broken, OSError):
            return False


def _mark(found: os.stat_result) -> str:
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"


def _fill(data: bytes, file: Any) -> None:
    file.write(data)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def address_of(root: Path) -> str:
    """The address of what a folder holds copies of; "" of any other folder."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return (root / MARK).read_text(encoding="utf-8-sig").strip()
    return ""


def copy_of(address: Address) -> Path:
    """The folder of this machine that holds copies of the run at an address, made if it is not there."""
    root = objects.cache(address)
    if address_of(root) != str(address):
        write_file(root / MARK, lambda file: file.write(f"{address}\n".encode()))
    return root


@functools.lru_cache(maxsize=64)
def files_of(root: Path, address: str) -> Files:
    """The files of the run in a folder, or of the one that it holds copies of."""
    return Copies(root, objects.parse(address)) if address else Folder(root)

"""Digests of a published folder, in the file FOLDER.sha256 beside it, which `sha256sum --check` reads as well.

They tell whether a folder is still what was written, whoever has cut, changed or deleted a file of it since.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from datagen.store.files import names, write_file

SHOWN_EVERY = 500  # files, and LARGE bytes
LARGE = 1 << 26
FIRST = "# sha256 and bytes of the files of a datagen export, format "


Progress = Callable[[str, int, int], None]  # of (what, done, total); `datagen.progress` shows it


def _unseen(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


class _Shown:
    """The progress of files that are read, told now and then: of many small ones, and of large ones; not of few."""

    def __init__(self, what: str, total: int, progress: Progress) -> None:
        self._what, self._total, self._progress = what, total, progress
        self.done, self._left, self._bytes, self._told = 0, SHOWN_EVERY, 0, False

    def add(self, size: int) -> None:
        """One more is read, of so many bytes."""
        self.done, self._left, self._bytes = self.done + 1, self._left - 1, self._bytes + size
        if self._left == 0 or self._bytes > LARGE:
            self._left, self._bytes, self._told = SHOWN_EVERY, 0, True
            self._progress(self._what, self.done, self._total)

    def end(self) -> None:
        """All are read."""
        if self._told:
            self._progress(self._what, self.done, self._total)


def beside(folder: Path) -> Path:
    """Where the digests of a folder lie."""
    return folder.with_name(f"{folder.name}.sha256")


def write(folder: Path, name: str, progress: Progress = _unseen) -> None:
    """Note the digests of the files of an export in the format `name`. RunError if the disk refuses."""
    shown = _Shown("digests", sum(1 for _ in _every(folder)), progress)

    def fill(file: Any) -> None:
        parent = f"{folder.parent}{os.sep}"
        file.write(f"{FIRST}{name}\n".encode())
        for path in _files(str(folder)):
            size, digest = _size_and_digest(path)
            own = path.removeprefix(parent).replace(os.sep, "/")
            file.write(f"# {size} bytes\n{digest}  {own}\n".encode())
            shown.add(size)
        shown.end()
        file.write(f"{_last(shown.done)}\n".encode())

    write_file(beside(folder), fill)


def _files(folder: str) -> Iterator[str]:
    """The files of a folder in order."""
    for name in names(folder):
        path = f"{folder}{os.sep}{name}"
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            yield from _files(path)
        elif stat.S_ISREG(kind):
            yield path


def _every(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    """What is in a folder but folders, in no order; it may be millions of files."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _every(entry.path)
            else:
                yield entry


def _last(count: int) -> str:
    return f"# {count} files"


def _count(folder: Path) -> int:
    """How many files are stated, by the last line; 0 if that is damaged."""
    with contextlib.suppress(OSError, ValueError, IndexError), beside(folder).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - len(_last(10**18))))
        return int(file.read().splitlines()[-1].split()[1])
    return 0


def format_of(folder: Path) -> str | None:
    """The format of the export that lies, or lay, in a folder; None if the file beside it is none of these."""
    first = next(_lines(folder), "")
    return first.removeprefix(FIRST) if first.startswith(FIRST) else None


def _lines(folder: Path) -> Iterator[str]:
    try:
        with beside(folder).open(encoding="utf-8-sig", errors="replace") as file:
            yield from (line.rstrip("\n") for line in file)
    except OSError:
        return


def _stated(folder: Path) -> Iterator[tuple[str, int, str]]:
    """Name, bytes and digest of each file as stated; ends with ("", -1, "") if that is not all that was written."""
    lines = _lines(folder)
    next(lines, None)
    count, last = 0, ""
    for last in lines:
        digest, _, name = next(lines, "").partition("  ")
        if name:
            count += 1
            yield name, _number(last), digest
    if last != _last(count):
        yield "", -1, ""


def differences(folder: Path, *, contents: bool = True, progress: Progress = _unseen) -> Iterator[str]:
    """One line for each file that is not as it was written, by size and, with `contents`, by digest."""
    damaged = f"{beside(folder)} is missing or damaged, so it is not known what was written"
    if format_of(folder) is None:
        yield damaged
        return
    tables, shown = set[str](), _Shown("check", _count(folder), progress)
    for name, size, digest in _stated(folder):
        if not name:
            yield damaged
            return
        shown.add(size if contents else 0)
        if name.endswith(".parquet"):
            tables.add(name)
        if reason := _difference(folder.parent / name, size, digest if contents else None):
            yield f"{folder.parent / name} {reason}"
    shown.end()
    for path in sorted(Path(entry) for entry in _every(folder) if entry.name.endswith(".parquet")):
        if path.relative_to(folder.parent).as_posix() not in tables:
            yield f"{path} was added since"


def _difference(path: Path, size: int, digest: str | None) -> str | None:
    """How a file differs from what is stated of it."""
    try:
        found = path.stat().st_size
        if found != size:
            return f"is of {found} bytes, {size} were written"
        if digest is not None and _digest(path) != digest:
            return "has changed since it was written"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None


def _number(line: str) -> int:
    """The bytes that a line states; -1, which no file has, of a line that is damaged."""
    word = line.split()[1:2]
    return int(word[0]) if word and word[0].isascii() and word[0].isdigit() else -1


def _digest(path: Path) -> str:
    return _size_and_digest(str(path))[1]


def _size_and_digest(path: str) -> tuple[int, str]:
    with open(path, "rb", buffering=0) as file:
        return os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()

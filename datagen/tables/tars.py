"""WebDataset archives: tar files, in which the files of one sample lie side by side under one key.

A key is a file's name up to the first dot of its last part; what follows the dot says what the file is. Archives are
only read, never unpacked: links and names that lead elsewhere are passed over, as all that is no part of a sample.
Headers alone are read to find the samples; a file's bytes are read by its place, also within gzip, bzip2 and xz.
"""

from __future__ import annotations

import dataclasses
import itertools
import lzma
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from datagen.errors import InputError, one_line
from datagen.tables.folders import ARCHIVES, LITTER

BROKEN = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, OverflowError)
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")


@dataclasses.dataclass(frozen=True)
class Member:
    """Where a file's bytes lie in the archive, unpacked."""

    offset: int
    size: int


@dataclasses.dataclass(frozen=True)
class Sample:
    """The files of one key by what follows its dot, in lower case; `repeated` are of a kind that came before."""

    key: str
    members: dict[str, Member]
    repeated: tuple[str, ...] = ()


def is_tar(path: Path) -> bool:
    """Whether a file is named like an archive."""
    return path.name.lower().endswith(ARCHIVES)


def expand(path: Path) -> list[Path]:
    """The files that a name with braces stands for: "{000..009}", "{a,b}". InputError if some are not there."""
    text = str(path)
    if path.exists() or not _BRACES.search(text):
        return [path]
    found = [Path(name) for name in _expanded(text)]
    gone = [name for name in found if not name.is_file()]
    if gone:
        raise InputError(f"there is no {gone[0]}: {len(gone)} of the {len(found)} files that {path} names are missing")
    return found


def _expanded(text: str) -> list[str]:
    braces = _BRACES.search(text)
    if braces is None:
        return [text]
    first, last, listed = braces.groups()
    if listed is None:
        if not int(first) <= int(last) < int(first) + 1_000_000:
            raise InputError(f"{text}: {braces[0]} counts upwards, by at most a million")
        width = len(first) if first.startswith("0") else 0
        words = [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]
    else:
        words = listed.split(",")
    return [name for word in words for name in _expanded(text[: braces.start()] + word + text[braces.end() :])]


class Tar:
    """One archive. `samples()` fills `passed_over`, by reason, and `damage`: what is wrong with it, None if sound."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.passed_over = Counter[str]()
        self.damage: str | None = None
        self._opened: tarfile.TarFile | None = None

    def samples(self) -> Iterator[Sample]:
        """The samples in order, read anew; InputError if the file is no archive or its samples lie scattered."""
        self.passed_over.clear()
        keys = set[int]()
        for key, files in itertools.groupby(self._files(), lambda file: file[0]):
            members: dict[str, Member] = {}
            repeated = []
            for _, kind, member in files:
                repeated += [kind] * (kind in members)
                members.setdefault(kind, member)
            if hash(key) in keys:
                raise InputError(
                    f"{self.path}: the files of sample {key!r} do not lie side by side; pack them in the order of "
                    "their names (tar --sort=name)"
                )
            keys.add(hash(key))
            yield Sample(key, members, tuple(repeated))

    def read(self, member: Member) -> bytes:
        """The bytes of a file; InputError if they are not all there. Without compression any order is fast."""
        try:
            stream = self._tar().fileobj
            assert stream is not None
            stream.seek(member.offset)
            data = stream.read(member.size)
        except BROKEN as error:
            raise InputError(f"the archive {self.path.name} is damaged: {one_line(error)}") from error
        if len(data) < member.size:
            raise InputError(f"the archive {self.path.name} is cut off within this file")
        return data

    def notes(self) -> list[str]:
        """What was passed over and what is damaged, once `samples` has gone through."""
        told = [
            f"passed over in {self.path.name}: {count:,} {what}" for what, count in sorted(self.passed_over.items())
        ]
        return [*told, *([f"{self.path.name} is damaged: {self.damage}"] if self.damage else [])]

    def close(self) -> None:
        """Close the file; it opens itself when it is needed."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _tar(self) -> tarfile.TarFile:
        if self._opened is None:
            self._opened = _open(self.path)
        return self._opened

    def _files(self) -> Iterator[tuple[str, str, Member]]:
        """Key, kind and place of each file that is part of a sample."""
        self.damage = None
        with _open(self.path) as tar:
            for info in self._infos(tar):
                if info.isdir():
                    continue
                key, kind, reason = _split(info)
                if reason:
                    self.passed_over[reason] += 1
                else:
                    yield key, kind, Member(info.offset_data, info.size)

    def _infos(self, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        """The headers, one in memory at a time; sets `damage` by what stands where they end."""
        last, count = -1, 0
        try:
            while info := tar.next():
                if info.offset <= last or info.size < 0:
                    self.damage = f"a header after {count:,} files makes no sense: what follows it is not read"
                    return
                last, count = info.offset, count + 1
                vars(tar)["members"].clear()  # which tarfile keeps for look-ups by name
                yield info
            stream: IO[bytes] | Any = tar.fileobj
            stream.seek(tar.offset)
            end = stream.read(512)
        except BROKEN as error:
            self.damage = f"after {count:,} files it cannot be read on ({one_line(error)})"
            return
        if len(end) < 512:
            self.damage = f"the mark of its end is missing after {count:,} files: it may be cut off"
        elif any(end):
            self.damage = f"what follows {count:,} files is no header and is not read"


def _open(path: Path) -> tarfile.TarFile:
    """An archive of any compression; InputError if it is none."""
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); copy or make it again")
        return tarfile.open(path, "r:*")
    except BROKEN as error:
        raise InputError(f"{path} is not a readable tar archive: {one_line(error)}") from error


def _split(info: tarfile.TarInfo) -> tuple[str, str, str]:
    """Key and kind of a file, or why it is part of no sample."""
    if info.issym() or info.islnk():
        return "", "", "links"
    if not info.isreg() or info.issparse():
        return "", "", "members that are no plain files"
    path = PurePosixPath(info.name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        return "", "", "files whose names lead out of the archive"
    if any(part.startswith(".") or part in LITTER for part in path.parts):
        return "", "", "hidden files"
    stem, dot, kind = path.name.partition(".")
    if not dot or not kind:
        return "", "", "files whose names have no suffix"
    key = (path.parent / stem).as_posix()
    return key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"), kind.lower(), ""

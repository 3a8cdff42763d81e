"""Digests of a published folder, in the file FOLDER.sha256 beside it, which `sha256sum --check` reads as well.

They tell whether a folder is still what was written, whoever has cut, changed or deleted a file of it since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from datagen.store.files import write_file

FIRST = "# sha256 and bytes of the files of a datagen export, format "


def beside(folder: Path) -> Path:
    """Where the digests of a folder lie."""
    return folder.with_name(f"{folder.name}.sha256")


def write(folder: Path, name: str) -> None:
    """Note the digests of the files of an export in the format `name`. RunError if the disk refuses."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{FIRST}{name}"]
    for path in files:
        lines += [f"# {path.stat().st_size} bytes", f"{_digest(path)}  {path.relative_to(folder.parent).as_posix()}"]
    text = "\n".join([*lines, _last(len(files))]) + "\n"
    write_file(beside(folder), lambda file: file.write(text.encode()))


def _last(count: int) -> str:
    return f"# {count} files"


def format_of(folder: Path) -> str | None:
    """The format of the export that lies, or lay, in a folder; None if the file beside it is none of these."""
    first = "".join(_lines(folder)[:1])
    return first.removeprefix(FIRST) if first.startswith(FIRST) else None


def _lines(folder: Path) -> list[str]:
    try:
        return beside(folder).read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError:
        return []


def differences(folder: Path, *, contents: bool = True) -> Iterator[str]:
    """One line for each file that is not as it was written, by size and, with `contents`, by digest."""
    lines = _lines(folder)
    stated = {
        name: (_number(size), digest)
        for size, (digest, _, name) in zip(lines[1:-1:2], (line.partition("  ") for line in lines[2::2]), strict=False)
    }
    if format_of(folder) is None or lines[-1] != _last(len(stated)):
        yield f"{beside(folder)} is missing or damaged, so it is not known what was written"
        return
    for name, (size, digest) in stated.items():
        if reason := _difference(folder.parent / name, size, digest if contents else None):
            yield f"{folder.parent / name} {reason}"
    for path in sorted(folder.rglob("*.parquet")):
        if path.relative_to(folder.parent).as_posix() not in stated:
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
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Text files of unknown origin, line by line: UTF-8 or an InputError that names the line.

A byte-order mark is no part of a text, at the beginning of the file or of any line (files that were joined have more).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from datagen.errors import InputError

BOM = "\ufeff"
LONGEST = 1 << 24  # characters of one text; one of 100,000 is a row with an error, not a crash
OTHERS = (  # by their beginnings: what is given as a text all the same, and what to do
    (b"\xff\xfe", "is UTF-16 text: save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16 text: save it as UTF-8"),
    (b"PAR1", "is a Parquet file: name it .parquet"),
    (b"PK\x03\x04", "is an Excel workbook or a ZIP archive: save it as text (CSV, UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel workbook: save it as text (CSV, UTF-8)"),
    (b"\x1f\x8b", "is compressed with gzip: unpack it"),
    (b"(\xb5/\xfd", "is compressed with zstd: unpack it"),
    (b"SQLite format 3", "is an SQLite database: export it as CSV"),
)


def lines(path: Path, keep_ends: bool = False) -> Iterator[str]:
    """The lines of a text file; "\\n", "\\r\\n" and "\\r" end one, and with `keep_ends` stay as they are."""
    check(path)
    try:
        with path.open(encoding="utf-8-sig", newline="" if keep_ends else None) as file:
            for number, line in enumerate(file, 1):
                if "\0" in line:
                    raise InputError(f"{path} line {number} holds NUL bytes: it is no UTF-8 text")
                line = line.lstrip(BOM)
                yield line if keep_ends else line.removesuffix("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{_not_utf8(path)}: save it as UTF-8") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def read(path: Path) -> str:
    """A whole text file, stripped; of one that is longer than LONGEST only so much."""
    text, size = [], 0
    for line in lines(path):
        text.append(line)
        size += len(line) + 1
        if size > LONGEST:
            break
    return "\n".join(text)[:LONGEST].strip()


def check(path: Path) -> None:
    """InputError for what is not a file, or by its first bytes no text."""
    try:
        if not path.is_file():
            raise InputError(f"{path} is a folder, not a file" if path.is_dir() else f"there is no file {path}")
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    for beginning, what in OTHERS:
        if head.startswith(beginning):
            raise InputError(f"{path} {what}")


def _not_utf8(path: Path) -> str:
    """Which line of a file is not UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"{path} line {number} is not UTF-8 text (byte 0x{line[error.start]:02x})"
    return f"{path} is not UTF-8 text"

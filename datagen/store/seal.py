"""Sealed Parquet files: digests of every bit of a file stand in its own footer.

`seal` covers the footer and is looked at whenever it is read; `data`, which stands in the footer, covers the rest and
is looked at before rows are read. So a flipped bit is met by a digest, not by a decoder, wherever it is.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from datagen.store.files import parquet_writer, together

KEY = b"datagen"
EMPTY = "0" * 64
_VALUE = bytes([len(KEY)]) + KEY + b"\x18"  # what stands before the length of our value
MOSTLY = 1 << 16  # bytes that hold most footers
_TAIL = 8  # the footer's length in four bytes, and PAR1


class Broken(Exception):
    """Why a file is not what was written, in one line."""


def write(file: Any, groups: Iterable[pa.Table], facts: Callable[[], dict[str, Any]]) -> None:
    """Write row groups to a file opened for both directions, with `facts` and the digests in its footer.

    `facts` (JSON-able) are asked for when all rows are written. There is at least one group, which may be empty.
    """
    groups = together(groups)
    first = next(groups)
    with parquet_writer(file, first.schema) as writer:
        for group in itertools.chain([first], groups):
            writer.write_table(group)
        # Here and not as metadata of the schema, which Parquet files hold a second time.
        sealed = json.dumps({**facts(), "data": EMPTY, "seal": EMPTY})
        writer.add_key_value_metadata({KEY.decode(): sealed})
    file.flush()
    start, footer = _footer(file)
    footer = _put(footer, "data", _digest(file, start))
    footer = _put(footer, "seal", hashlib.sha256(footer).hexdigest())
    file.seek(start)
    file.write(footer)


def facts(path: Path) -> dict[str, Any]:
    """What `write` was given, and `data`. Broken if the footer is not as it was written; OSError as the system's."""
    return stated(_last_bytes(path))


def stated(footer: bytes) -> dict[str, Any]:
    """The same of the bytes of a footer."""
    seal = _get(footer, "seal")
    if hashlib.sha256(_put(footer, "seal", EMPTY)).hexdigest() != seal:
        raise Broken("its footer has changed since it was written")
    values = _json(footer)
    values.pop("seal")
    return values


def _last_bytes(path: Path) -> bytes:
    """The footer of a file up to its end, mostly by one read: a run of a million rows has 80,000 of them."""
    with path.open("rb", buffering=0) as file:
        end = os.fstat(file.fileno()).st_size
        file.seek(max(0, end - MOSTLY))
        last = file.read(MOSTLY)
        start = len(last) - _TAIL - int.from_bytes(last[-_TAIL:-4], "little")
        if last[-4:] == b"PAR1" and start >= 0 and len(last) >= 4 + _TAIL:
            return last[start:]
        return _footer(file)[1]


def footer_size(last: bytes) -> int:
    """How many bytes at the end of a Parquet file its footer takes, by the last of them; Broken if they are none."""
    if len(last) < 4 + _TAIL:
        raise Broken(f"it is cut off: {len(last)} bytes")
    if last[-4:] != b"PAR1":
        raise Broken("it is cut off, or no Parquet file")
    return _TAIL + int.from_bytes(last[-_TAIL:-4], "little")


def cut(last: bytes) -> bytes:
    """The footer that a file ends with, of enough of its last bytes; Broken if they are not."""
    size = footer_size(last)
    if size > len(last):
        raise Broken("it is cut off, or no Parquet file")
    return last[-size:]


def _json(footer: bytes) -> dict[str, Any]:
    """What `write` put into a footer, read where it lies: behind its key and its length, as Thrift writes them.

    No text can look like that, as those among the facts have no bare control characters.
    """
    place = footer.rfind(_VALUE) + len(_VALUE)
    length, shift = 0, 0
    while place < len(footer):
        byte, place = footer[place], place + 1
        length, shift = length | (byte & 0x7F) << shift, shift + 7
        if byte < 0x80:
            break
    try:
        values: dict[str, Any] = json.loads(footer[place : place + length].decode())
    except ValueError as error:
        raise Broken("its footer cannot be read") from error
    return values


def verify(path: Path, data: str) -> None:
    """Broken if what stands before the footer has not the digest `data`."""
    with path.open("rb") as file:
        start, _ = _footer(file)
        if _digest(file, start) != data:
            raise Broken("its rows have changed since they were written")


def _footer(file: Any) -> tuple[int, bytes]:
    """Where the footer of an opened Parquet file begins, and its bytes up to the end of the file."""
    size = file.seek(0, os.SEEK_END)
    if size < 4 + _TAIL:
        raise Broken(f"it is cut off: {size} bytes")
    file.seek(size - _TAIL)
    tail = file.read(_TAIL)
    start = size - _TAIL - int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or start < 4:
        raise Broken("it is cut off, or no Parquet file")
    file.seek(start)
    return start, file.read()


def _digest(file: Any, end: int) -> str:
    """SHA-256 of the first `end` bytes."""
    sha, left = hashlib.sha256(), end
    file.seek(0)
    while left and (block := file.read(min(left, 1 << 20))):
        sha.update(block)
        left -= len(block)
    return sha.hexdigest()


def _place(footer: bytes, name: str) -> int:
    """Where the hex digits of a digest stand.

    The last match: our facts come after the statistics of the columns, which hold texts of any origin, and a text
    among the facts cannot hold a bare quotation mark.
    """
    mark = f'"{name}": "'.encode()
    found = footer.rfind(mark)
    if found < 0 or found + len(mark) + len(EMPTY) > len(footer):
        raise Broken("it is no file of a run, or of another version of datagen")
    return found + len(mark)


def _get(footer: bytes, name: str) -> str:
    place = _place(footer, name)
    return footer[place : place + len(EMPTY)].decode("latin-1")


def _put(footer: bytes, name: str, digest: str) -> bytes:
    place = _place(footer, name)
    return footer[:place] + digest.encode() + footer[place + len(EMPTY) :]

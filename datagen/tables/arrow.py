"""Arrow files, mapped into memory; an InputError names the file that is broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from datagen.errors import InputError, one_line


def read(path: Path) -> pa.Table:
    """An Arrow file, of the streaming or of the random-access format; nothing of it is copied into memory."""
    try:
        with pa.memory_map(str(path)) as file:
            try:
                table = pa.ipc.open_stream(file).read_all()
            except pa.ArrowInvalid:
                table = pa.ipc.open_file(file).read_all()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({one_line(error)}); build or download it again") from error
    for name in table.column_names:
        if table.column_names.count(name) > 1:
            raise InputError(f"{path} has two columns {name!r}: rename or remove one")
    return table


def rows(path: Path, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a file, of the named columns, one in memory at a time."""
    columns = [(name, column) for name, column in zip(names, read(path).select(list(names)).columns, strict=True)]
    done = 0
    try:
        for chunks in zip(*(column.chunks for _, column in columns), strict=True):
            for index in range(len(chunks[0])):
                yield {name: chunk[index].as_py() for (name, _), chunk in zip(columns, chunks, strict=True)}
                done += 1
    except UnicodeDecodeError as error:
        raise InputError(f"{path} row {done} holds text that is not UTF-8") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} is damaged after row {done}: {one_line(error)}") from error

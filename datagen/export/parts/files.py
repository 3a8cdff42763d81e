"""Pictures and lines as plain files; an export is built aside, so that none of them needs to be whole before it.

Names are ids of ours, or a text made harmless: never what an LLM wrote as it wrote it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

PLAIN = re.compile(r"[^0-9A-Za-z_-]+")
SHARED = 2  # digits of an id that name the folder of a picture, so that no folder holds too many


def plain(text: str, otherwise: str) -> str:
    """A text as part of a path."""
    return PLAIN.sub("-", text).strip("-")[:60] or otherwise


def put(path: Path, data: bytes) -> None:
    """Write a file, and its folder if there is none."""
    try:
        path.write_bytes(data)
    except FileNotFoundError:
        path.parent.mkdir(parents=True)
        path.write_bytes(data)


def put_picture(folder: Path, picture: Mapping[str, Any]) -> str:
    """Write a picture under its content's name into a folder of few, once; its path relative to `folder`."""
    name = f"images/{picture['path'][:SHARED]}/{picture['path']}"
    if not (folder / name).exists():
        put(folder / name, picture["bytes"])
    return name


def line(values: Any) -> str:
    """JSON in one line."""
    return json.dumps(values, ensure_ascii=False)


class Array:
    """A context that writes a JSON array a value at a time; the file is there even if it is empty."""

    def __init__(self, path: Path) -> None:
        self._path, self._empty = path, True

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = self._path.open("w", encoding="utf-8")
        self._file.write("[")
        return self

    def add(self, value: Any) -> None:
        """Add a value."""
        self._file.write(f"{'' if self._empty else ','}\n{line(value)}")
        self._empty = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            self._file.write("\n]\n")

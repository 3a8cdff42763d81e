"""JSON Lines: one value a line, or an InputError that names the line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datagen.errors import InputError, one_line
from datagen.tables import text


def values(path: Path) -> Iterator[tuple[str, Any]]:
    """Each line's value with its place ("line 3"); blank lines are none."""
    for number, line in enumerate(text.lines(path), 1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", loads(line)
        except ValueError as error:
            raise InputError(f"{path} line {number} is not JSON: {one_line(error)}") from error


def objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line's object with its place; InputError for a line that holds anything else."""
    for place, value in values(path):
        if not isinstance(value, dict):
            raise InputError(f'{path} {place} is no object: give one {{"column": value}} a line')
        yield place, value


def loads(text: str) -> Any:
    """The value of a JSON text; ValueError for what is none, or has two values under one name."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of two values under one name `json` would take the last without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it has two values for {next(name for name in names if names.count(name) > 1)!r}")
    return found

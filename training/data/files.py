"""Which files hold a split, and how a Parquet file is read: whatever is broken becomes a TrainingError that names it.

A file belongs to the split that its name or its folder begins with; where none is named after a split, all belong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from training.errors import TrainingError, one_line

_NAME = re.compile(r"((?:train|test|validation|valid|val|dev)(?:_[a-z]+)*)(?=[-.]|_?\d|$)")


def find_files(source: str, split: str) -> list[Path]:
    """Parquet files of a split: those named after it, or all if no file is named after a split."""
    root = Path(source)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise TrainingError(f"no data at {source}: give a dataset folder or a Parquet file")
    files = sorted(f.relative_to(root).as_posix() for f in root.rglob("*.parquet"))
    if not files:
        raise TrainingError(f"no Parquet file under {source}: give a dataset folder (such as OUT/dataset) or a file")
    return [root / name for name in of_split(files, split, source)]


def of_split(names: Sequence[str], split: str, source: str) -> list[str]:
    """Those of the relative file names that belong to a split. Raises TrainingError if others do and none of them."""
    splits = {name: _split_of(PurePosixPath(name)) for name in names}
    found = [name for name in names if splits[name] == split]
    others = sorted({other for other in splits.values() if other})
    if others and not found:
        raise TrainingError(f"{source} has no {split!r} split; it has {', '.join(others)}")
    return found or list(names)


def _split_of(name: PurePosixPath) -> str | None:
    """The split that a file is named after, or else the innermost of its folders that is."""
    for part in (name.name, *reversed(name.parts[:-1])):
        if match := _NAME.match(part):
            return match.group(1)
    return None


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """One Parquet file; a truncated, empty or foreign one is a TrainingError that names it."""
    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def column_names(path: Path) -> list[str]:
    """The columns of a Parquet file, from its footer."""
    try:
        names: list[str] = pq.read_schema(path).names
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    return names


def _unreadable(path: Path, error: Exception) -> TrainingError:
    return TrainingError(f"{path} is not a readable Parquet file ({one_line(error)}); build or download it again")

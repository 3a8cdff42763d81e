"""The prompts of an evaluation: a text file, or the test split of a dataset, with their principles.

Raises TrainingError for what holds no prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.data import find_files, read_table
from training.errors import TrainingError


def load(source: str, principles: Sequence[str], limit: int) -> tuple[list[str], list[tuple[str, ...]]]:
    """Distinct prompts in order, each with its principles: the given ones, else the dataset's own, () for none.

    Two rows of one prompt with different principles are two prompts.
    """
    path = Path(source)
    if path.is_file() and path.suffix != ".parquet":
        rows = [(line.strip(), "") for line in _text(path).splitlines() if line.strip()]
    else:
        rows = [row for file in find_files(source, "test") for row in _rows(file)]
    given = tuple(principles)
    found = list(dict.fromkeys((prompt, given or ((own,) if own else ())) for prompt, own in rows))
    found = found[:limit] if limit else found
    if not found:
        raise TrainingError(f"{source} holds no prompts")
    return [prompt for prompt, _ in found], [own for _, own in found]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TrainingError(f"{path} is not UTF-8 text: give one prompt a line, or a Parquet file") from error


def _rows(file: Path) -> list[tuple[str, str]]:
    table = read_table(file)
    names = table.column_names
    column = next((name for name in ("prompt", "caption") if name in names), None)
    if column is None:
        raise TrainingError(f"{file.name} has no column 'prompt' or 'caption'; it has {', '.join(names)}")
    values = table["principle"].to_pylist() if "principle" in names else [""] * table.num_rows
    return [(str(p), str(v or "")) for p, v in zip(table[column].to_pylist(), values, strict=True) if p]

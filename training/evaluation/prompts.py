"""The prompts of an evaluation: a text file, or the test split of a dataset, with their principles.

Raises TrainingError for what holds no prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datagen.tables import text
from datagen.tables.cells import kind_of
from datagen.tables.text import BOM
from training.data import Table, find_files
from training.data.sources import TABLES
from training.errors import TrainingError

# Files whose lines are no prompts though they are texts.
STRUCTURED = (".json", ".ndjson", ".yaml", ".yml", ".toml", ".xml", ".html", ".md", ".py", ".ipynb", ".log", ".ini")


def load(source: str, principles: Sequence[str], limit: int) -> tuple[list[str], list[tuple[str, ...]]]:
    """Distinct prompts in order, each with its principles: the given ones, else the dataset's own, () for none.

    Two rows of one prompt with different principles are two prompts.
    """
    path = Path(source).expanduser()
    if path.is_file() and path.suffix.lower() not in TABLES:
        if path.suffix.lower() in STRUCTURED:
            raise TrainingError(
                f"{source} is no list of prompts: give a text file with one a line, or {', '.join(TABLES)}"
            )
        rows = [(line.strip(), "") for line in text.lines(path) if line.strip()]
    else:
        rows = [row for file in find_files(source, "test") for row in _rows(file)]
    given = tuple(principles)
    found = list(dict.fromkeys((prompt, given or ((own,) if own else ())) for prompt, own in rows))
    found = found[:limit] if limit else found
    if not found:
        raise TrainingError(f"{source} holds no prompts")
    return [prompt for prompt, _ in found], [own for _, own in found]


def _rows(file: Path) -> list[tuple[str, str]]:
    """Prompts and principles of a table; a blank prompt is none."""
    table = Table(file, file.parent)
    column = next((name for name in ("prompt", "caption") if name in table.names), None)
    if column is None:
        raise TrainingError(f"{file.name} has no column 'prompt' or 'caption'; it has {', '.join(table.names)}")
    prompts = _texts(table, column)
    principles = _texts(table, "principle") if "principle" in table.names else [""] * len(prompts)
    return [(prompt, principle) for prompt, principle in zip(prompts, principles, strict=True) if prompt.strip()]


def _texts(table: Table, name: str) -> list[str]:
    """A column; "" where a cell is empty. Raises TrainingError for what is no text."""
    values = table.values(name)
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, str):
            raise TrainingError(f"{table.where(row)}: {name} must be a text, not {kind_of(value)}")
    return [(value or "").removeprefix(BOM) for value in values]

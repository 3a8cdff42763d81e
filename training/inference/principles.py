"""The value principles that a retriever chooses from, read from a TOML or JSON file or a dataset's column.

The statement is the principle: it is what training read and what the value encoder must be given, to the letter.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

from training import data
from training.errors import TrainingError


@dataclasses.dataclass(frozen=True)
class Principle:
    """The statement is what a value encoder reads; keywords and other texts say where it is at stake."""

    statement: str
    keywords: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


def load_principles(source: str | Path) -> tuple[list[Principle], list[str]]:
    """Principles of a TOML or JSON file or of a dataset, and a file's `background` (prompts where none is at stake).

    A file has a list `principle`; an entry is a statement, or a table with `statement` and, where wanted, `keywords`
    and `examples` (prompts where it is at stake). As in prompts/principles, `category` is a keyword where no others
    are given, and the wordings `violating` and `asked` are read without their "{prompt}". A dataset gives the distinct
    statements of its column `principle`. Raises TrainingError.
    """
    path = Path(source)
    if path.suffix not in (".toml", ".json"):
        return [Principle(statement) for statement in _statements(str(source))], []
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError) as error:
        raise TrainingError(f"no principles at {path}: {error}") from error
    content = content if isinstance(content, dict) else {"principle": content}
    entries = content.get("principle")
    if not isinstance(entries, list) or not entries:
        raise TrainingError(f"{path} has no list 'principle'; give statements, or tables with a 'statement' each")
    background = _strings(content, "background", f"{path}")
    return [_principle(entry, f"{path}, principle {n}") for n, entry in enumerate(entries, 1)], list(background)


def _statements(source: str) -> list[str]:
    """The distinct principles of a dataset, in order."""
    found: dict[str, None] = {}
    for file in data.find_files(source, "train"):
        table = data.Table(file, file.parent)
        if "principle" not in table.names:
            raise TrainingError(f"{file} has no column 'principle': give a dataset that has, or a TOML or JSON file")
        found |= dict.fromkeys(text for text in table.values("principle") if isinstance(text, str) and text.strip())
    return list(found)


def _principle(entry: Any, where: str) -> Principle:
    """One entry of a file. Raises TrainingError naming it."""
    if isinstance(entry, str) and entry.strip():
        return Principle(entry)
    statement = entry.get("statement") if isinstance(entry, dict) else None
    if not isinstance(statement, str) or not statement.strip():
        raise TrainingError(f"{where} has no 'statement', the text that the value encoder reads")
    keywords = _strings(entry, "keywords", where) or _strings(entry, "category", where)
    wordings = _strings(entry, "violating", where) + _strings(entry, "asked", where)
    bare = (text.replace("{prompt}", "").strip(" ,.") for text in wordings)
    texts = [*_strings(entry, "examples", where), *(text for text in bare if text and "{" not in text)]
    return Principle(statement, keywords, tuple(dict.fromkeys(texts)))


def _strings(entry: dict[str, Any], name: str, where: str) -> tuple[str, ...]:
    """A string or a list of strings. Raises TrainingError for anything else."""
    given = entry.get(name, [])
    values = [given] if isinstance(given, str) else given
    if not isinstance(values, list) or not all(isinstance(v, str) and v.strip() for v in values):
        raise TrainingError(f"{where}: {name!r} is {given!r}; a list of texts is accepted")
    return tuple(values)

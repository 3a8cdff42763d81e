"""The card of a dataset: is it readable, and does it state what the files hold?"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FRONT = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(\r?\n|\Z)", re.DOTALL)


def read(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The YAML of a card, and what is wrong with it; nothing of either where there is no card or no YAML."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return {}, []
    except UnicodeDecodeError as error:
        return {}, [f"{path} is not UTF-8 text (byte {error.start}): the hub and `datasets` cannot read it"]
    except OSError as error:
        return {}, [f"{path} cannot be read ({error.strerror})"]
    front = FRONT.match(text)
    if front is None:
        return {}, []
    try:
        facts = yaml.safe_load(front[1])
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, TypeError, AttributeError) as error:
        where = getattr(error, "problem_mark", None)
        line = "" if where is None else f" at its line {where.line + 2}"
        return {}, [
            f"{path}: its YAML cannot be read{line}: {getattr(error, 'problem', None) or type(error).__name__}"
        ]
    if not isinstance(facts, dict):
        return {}, [] if facts is None else [f"{path}: its YAML is a {type(facts).__name__}, should be a table"]
    return facts, []


def splits(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """(split, pattern of file names) of a card that says which files are which; [] of one that does not."""
    found = []
    for config in _tables(facts.get("configs")):
        files = config.get("data_files")
        for entry in files if isinstance(files, list) else [files]:
            split, paths = (entry.get("split"), entry.get("path")) if isinstance(entry, dict) else ("train", entry)
            for path in paths if isinstance(paths, list) else [paths]:
                if isinstance(split, str) and isinstance(path, str):
                    found.append((split, path.removeprefix("./")))
    return found


def split_of(name: str, patterns: list[tuple[str, str]]) -> str | None:
    """The split that a card gives a file, by its path in the dataset."""
    return next((split for split, pattern in patterns if fnmatch.fnmatchcase(name, pattern)), None)


def problems(facts: dict[str, Any], root: Path, files: list[Path], counts: dict[str, int]) -> Iterator[str]:
    """What a card states and the files do not hold. `counts`: rows by split."""
    card, names = root / "README.md", [file.relative_to(root).as_posix() for file in files]
    patterns = splits(facts)
    for split, pattern in patterns:
        if not fnmatch.filter(names, pattern):
            yield f"{card} names {pattern} as the files of {split}, and there are none"
    for name in names if patterns else []:
        if split_of(name, patterns) is None:
            yield f"{root / name} is in no split that {card} names, so that nobody reads it"
    infos = facts.get("dataset_info")
    tables = _tables(infos)
    if infos is not None and not tables:
        yield f"{card}: dataset_info is a {type(infos).__name__}, should be a table"
    if len(tables) == 1:  # of several, nobody says which files are whose
        yield from _against_counts(card, tables[0].get("splits"), counts)
        for feature in _tables(tables[0].get("features")):
            if feature.get("name") in ("chosen", "rejected") and feature.get("dtype") != "image":
                yield f"{card} says that {feature['name']} is {_short(feature.get('dtype'))}, should be image"


def _against_counts(card: Path, stated: Any, counts: dict[str, int]) -> Iterator[str]:
    """Row counts that differ from those that a card states."""
    if stated is None:
        return
    entries = _tables(stated)
    if not entries:
        yield f"{card}: dataset_info.splits is a {type(stated).__name__}, should be a list of tables"
    for entry in entries:
        split, number = entry.get("name"), entry.get("num_examples")
        held = counts.get(split, 0) if isinstance(split, str) else 0
        if number is not None and (isinstance(number, bool) or number != held):
            yield f"{card} states {_short(number)} rows of {_short(split)}, the files hold {held}"
    named = [entry.get("name") for entry in entries]
    for split in counts:
        if entries and split not in named:
            yield f"{card} does not state {split}, of which the files hold {counts[split]} rows"


def _short(value: Any) -> str:
    """A value of YAML in a message: a list may hold itself a million times."""
    return str(value)[:100] if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"


def _tables(value: Any) -> list[dict[str, Any]]:
    """The tables among a value of YAML: itself, or those of a list."""
    return [entry for entry in (value if isinstance(value, list) else [value]) if isinstance(entry, dict)]

"""Which split a name speaks of, as the `datasets` library tells it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from datagen.errors import InputError

WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_NAME = re.compile(r"((?:train|test|validation|valid|val|dev)(?:_[a-z]+)*)(?=[-.]|_?\d|$)")


def named(part: str) -> str | None:
    """The split that a word in the name of a file or a folder tells; None if none does."""
    words = re.split(r"[-._ 0-9]+", part.lower())
    return next((split for split, known in WORDS.items() if any(word in words for word in known)), None)


def of_file(name: PurePosixPath) -> str | None:
    """The split that a file is named after, or else the innermost of its folders that is."""
    for part in (name.name, *reversed(name.parts[:-1])):
        if match := _NAME.match(part.lower()):
            return match.group(1)
        if found := named(part):
            return found
    return None


def choose(names: Sequence[str], split: str | None, source: str, say: Callable[[str], None]) -> list[str]:
    """Those of the relative file names that belong to a split, all for None; those of no split are left out, and said.

    Where none is named after a split, all belong. InputError if others are and none after this one.
    """
    if split is None:
        return list(names)
    splits = {name: of_file(PurePosixPath(name)) for name in names}
    found = [name for name in names if splits[name] == split]
    others = sorted({other for other in splits.values() if other})
    if others and not found:
        raise InputError(f"{source} has no {split!r} split; it has {', '.join(others)}")
    if found and (stray := [name for name in names if splits[name] is None]):
        say(f"{len(stray)} tables of {source} are of no split and are left out, such as {stray[0]}")
    return found or list(names)

"""Which split a name speaks of, as the `datasets` library tells it."""

from __future__ import annotations

import re

WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}


def named(part: str) -> str | None:
    """The split that a word in the name of a file or a folder tells; None if none does."""
    words = re.split(r"[-._ 0-9]+", part.lower())
    return next((split for split, known in WORDS.items() if any(word in words for word in known)), None)

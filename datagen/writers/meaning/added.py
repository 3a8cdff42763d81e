"""Does a text go on to speak of something else? Its further sentences are held against the rest of the row.

A sentence belongs to a row if it shares words with the scene and the other texts, or says what the principle is about.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from datagen.records import Principle, Prompt
from datagen.writers.meaning.words import content, share

UNRELATED = "a sentence has nothing to do with the rest"
RELATED = 0.25  # least share of a further sentence's words that the rest of the row has
SENTENCE = 5  # words from which an entry of a negative prompt is a sentence
_SENTENCES = re.compile(r"(?<=[.!?:;])[\"'”’)]*\s+")
_ENTRIES = re.compile(r"[,;.!?:]\s*")
Told = Callable[[str], bool]  # whether a text says what the row's principles are about


def problem(principles: tuple[Principle, ...], scene: str, row: Prompt, told: Told) -> str | None:
    """Why a text of a row speaks of something else besides, or None."""
    (prompt, chosen, rejected), negatives = row.texts
    words = [f"{one.category} {one.statement} {one.aligned} {one.violating}" for one in principles]
    words += [f"{one.aligned_negative} {one.violating_negative}" for one in principles]
    about = " ".join([scene, *words])
    for text, other in ((prompt, chosen), (chosen, prompt), (rejected, prompt)):
        first, *more = _SENTENCES.split(text.strip())
        around = f"{first} {_SENTENCES.split(other.strip())[0]} {about}"
        if any(len(content(one)) >= 2 and share(one, around) < RELATED and not told(one) for one in more):
            return UNRELATED
    around = f"{prompt} {chosen} {rejected} {about}"
    entries = [entry for text in negatives for entry in _ENTRIES.split(text) if len(entry.split()) >= SENTENCE]
    return UNRELATED if any(share(entry, around) < RELATED and not told(entry) for entry in entries) else None

"""Which prompt of another image each image is judged by as well: pairs of which the better image is known beforehand.

Images of one prompt get the same other prompt, so that two of them can be compared by a text that neither shows. It is
one of those that came last, and of these the one that has least words in common with their own.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator

from datagen.tables.items import Item

LAST = 8  # prompts among which another is looked for
REMEMBERED = 200_000  # prompts whose other prompt is known; one that comes again later may get a new one


def with_others(items: Iterator[Item], usable: Callable[[str], bool]) -> Iterator[Item]:
    """The same items, those with a `usable` prompt with another one; the first prompt's have none."""
    last = deque[tuple[str, frozenset[str]]](maxlen=LAST)
    chosen: dict[str, str | None] = {}
    for item in items:
        prompt = item.prompt
        if prompt is None or not usable(prompt):
            yield item
            continue
        if chosen.get(prompt) is None:
            words = _words(prompt)
            chosen[prompt] = _other(words, last)
            if prompt not in (known for known, _ in last):
                last.append((prompt, words))
            if len(chosen) > REMEMBERED:
                del chosen[next(iter(chosen))]
        yield dataclasses.replace(item, other=chosen[prompt])


def _other(words: frozenset[str], last: deque[tuple[str, frozenset[str]]]) -> str | None:
    """The prompt with least in common, of several the latest; None where all say the same in other signs."""
    found = [(len(words & known) / len(words | known), -place, prompt) for place, (prompt, known) in enumerate(last)]
    return min(found)[2] if found and min(found)[0] < 1 else None


def _words(prompt: str) -> frozenset[str]:
    """Of a text without spaces each sign is a word."""
    signs = "".join(sign if sign.isalnum() else " " for sign in prompt.casefold()).split()
    return frozenset(signs if len(signs) > 1 or prompt.isascii() else "".join(signs)) or frozenset([prompt])

"""Finds and repairs the JSON in a reply that is not plain JSON: fences, thinking, prose around it, small faults.

Whatever text comes in, this ends soon and raises nothing: every candidate it gives is valid JSON text, to be checked
against the type that was asked for. Nothing is made up but brackets, commas and quotes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import SupportsIndex

LONGEST = 16_384  # characters that are worth repairing
EFFORT = 100_000  # character reads while repairing one reply; a text that can be repaired takes two a character
FENCES = 8  # code fences looked into

_LENIENT = json.JSONDecoder(strict=False)  # lets raw line breaks and tabs inside strings pass

_THINKING = ("think", "thinking", "thought", "reasoning", "reflection")


def sound(text: str) -> str:
    """The text with lone surrogates, which no file or database takes, replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def spoken(text: str) -> str:
    """What a model says, without the thinking before it; "" if it never stopped thinking."""
    text = text.strip()
    for tag in _THINKING:
        # A chat template may have opened the tag itself, so that only its end is in the reply.
        before, end, after = text.rpartition(f"</{tag}>")
        if end and (before.lstrip().startswith(f"<{tag}>") or f"<{tag}>" not in before):
            return after.strip()
        if text.startswith(f"<{tag}>"):
            return ""
    return text


def candidates(text: str) -> Iterator[str]:
    """JSON texts that may be what was meant, the likeliest first."""
    pieces = list(_pieces(text))
    for piece in pieces:
        try:
            yield _plain(_LENIENT.raw_decode(piece)[0])
        except (ValueError, RecursionError):
            continue
    left = [EFFORT]
    for piece in pieces:
        if len(piece) <= LONGEST:
            yield from _repaired(_Metered(piece, left))


def _pieces(text: str) -> Iterator[str]:
    """Parts of a text that may be JSON: what stands in fences, and all between the outermost braces."""
    for fenced in text.split("```")[1 : 2 * FENCES : 2]:
        body = fenced.partition("{")
        if body[1]:
            yield "{" + body[2].strip()
    start = text.find("{")
    if start >= 0:
        end = text.rfind("}") + 1
        yield text[start:end] if end > start else text[start:]


def _repaired(piece: _Metered) -> Iterator[str]:
    from json_repair import repair_json

    try:
        value = repair_json(piece, return_objects=True, skip_json_loads=True)
        # Several objects one after the other come back as a list of them.
        for part in value[:FENCES] if isinstance(value, list) else [value]:
            if isinstance(part, dict) and part:
                yield _plain(part)
    except Exception:  # a library's guesses at hostile text: whatever goes wrong in there, the text is not readable
        return


def _plain(value: object) -> str:
    return sound(json.dumps(value, ensure_ascii=False))


class _Metered(str):
    """A text that can be read a limited number of times: json_repair would read some for minutes."""

    left: list[int]  # shared with its parts

    def __new__(cls, text: str, left: list[int]) -> _Metered:
        metered = super().__new__(cls, text)
        metered.left = left
        return metered

    def __getitem__(self, index: SupportsIndex | slice) -> str:
        self.left[0] -= 1
        if self.left[0] < 0:
            raise TimeoutError
        part = super().__getitem__(index)
        return part if len(part) < 2 else _Metered(part, self.left)

    def __add__(self, other: str) -> str:
        return _Metered(super().__add__(other), self.left)

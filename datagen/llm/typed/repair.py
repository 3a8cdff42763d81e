"""Repairs a piece of text that is almost JSON: quotes, commas, comments, a bracket that lacks.

Whatever text comes in, this ends soon and raises nothing. Nothing is made up but brackets, commas and quotes; a text
that breaks off is not completed.
"""

from __future__ import annotations

import json
from typing import Any, SupportsIndex

from datagen.llm.typed.pieces import Piece

LONGEST = 16_384  # characters that are worth repairing
EFFORT = 100_000  # character reads while repairing one piece; a text that can be repaired takes two a character


def sound(text: str) -> str:
    """The text with lone surrogates, which no file or database takes, replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def plain(value: Any) -> str:
    """A value as sound JSON text."""
    return sound(json.dumps(value, ensure_ascii=False))


def value_of(piece: Piece) -> Any:
    """What a piece says, repaired if need be; None if it cannot be read."""
    if piece.sound:
        return piece.value
    if piece.broken or piece.partial or len(piece.text) > LONGEST:
        return None
    from json_repair import repair_json

    try:
        return repair_json(_Metered(piece.text, [EFFORT]), return_objects=True, skip_json_loads=True)
    except Exception:  # a library's guesses at hostile text: whatever goes wrong in there, the text is not readable
        return None


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

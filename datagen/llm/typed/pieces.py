"""Where in a text the objects and lists are that may be the JSON asked for, and whether each of them has an end.

Sound JSON is found by the standard library's decoder; of the rest, brackets and quotes are followed, so that a reply
that breaks off inside a text is known from one that merely lacks its last bracket.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

MOST = 64  # pieces looked at
_LENIENT = json.JSONDecoder(strict=False)  # lets raw line breaks and tabs inside strings pass
_BEGIN = re.compile(r"\{|\[(?=\s*[\[{\"'\]])")
_TOKENS = re.compile(r"[\"'{}\[\]\\]")
# A string that begins where a name does; in a list it may be an entry, which is then lost with the rest.
_NAME_ALONE = re.compile(r"[{,]\s*([\"'])(?:(?!\1)[^\\]|\\.)*\1\Z")


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of a text: its `value` if it is `sound` JSON.

    Of one that never ends, `broken` says that it stops inside a text, `partial` after a name without a value or in
    what may be half a number.
    """

    text: str
    end: int
    sound: bool = False
    value: Any = None
    broken: bool = False
    partial: bool = False


def pieces(text: str) -> Iterator[Piece]:
    """The outermost objects and lists of a text, in order; one that never ends is the last."""
    position = 0
    for _ in range(MOST):
        if (found := _BEGIN.search(text, position)) is None:
            return
        piece = _piece(text, found.start())
        yield piece
        position = piece.end


def _piece(text: str, start: int) -> Piece:
    try:
        value, end = _LENIENT.raw_decode(text, start)
        return Piece(text[start:end], end, sound=True, value=value)
    except (ValueError, RecursionError):
        closed, inside, missing = _extent(text, start)
    if closed is not None:
        return Piece(text[start:closed], closed)
    rest = text[start:].rstrip().removesuffix("```").rstrip()
    partial = _wants_more(rest)
    if not inside and not partial:
        try:  # nothing but its last brackets may be missing
            value = _LENIENT.decode(rest.removesuffix(",") + missing)
            return Piece(rest, len(text), sound=True, value=value)
        except (ValueError, RecursionError):
            pass
    return Piece(rest, len(text), broken=inside, partial=partial)


def _extent(text: str, start: int) -> tuple[int | None, bool, str]:
    """Where the bracket at `start` is closed; None, and whether the text ends inside a quotation, if it never is.

    The last are the brackets that are still to be closed.
    """
    missing, quote, position = [], "", start
    while found := _TOKENS.search(text, position):
        token, place = found[0], found.start()
        position = place + 1
        if token == "\\":
            position += 1
        elif token in "\"'":
            if not quote and _before(text, place, "{[,:"):
                quote = token
            elif token == quote and _after(text, place, ",:}]"):
                quote = ""
        elif not quote and token in "{[":
            missing.append("}" if token == "{" else "]")
        elif not quote:
            missing.pop()
            if not missing:
                return position, False, ""
    return None, bool(quote), "".join(reversed(missing))


def _wants_more(rest: str) -> bool:
    """Whether a text without an end stops after a name that has no value, or in what may be half a number."""
    return rest[-1:].isalnum() or rest.endswith(":") or _NAME_ALONE.search(rest) is not None


def _before(text: str, place: int, what: str) -> bool:
    """Whether one of some characters stands before a place; a quotation mark elsewhere is an apostrophe."""
    while place > 0 and text[place - 1].isspace():
        place -= 1
    return place > 0 and text[place - 1] in what


def _after(text: str, place: int, what: str) -> bool:
    """Whether one of some characters, or nothing, stands after a place."""
    place += 1
    while place < len(text) and text[place].isspace():
        place += 1
    return place == len(text) or text[place] in what or text.startswith("```", place)

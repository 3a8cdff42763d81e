"""Spelling tricks that people play on word filters, for the tests and the benchmark of the floor.

Each takes a text and a `random.Random` and returns a text that a person still reads as the first one.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

Trick = Callable[[str, random.Random], str]

_LEET = {"a": "4@", "e": "3€", "i": "1!", "o": "0", "s": "5$", "t": "7+", "l": "1|", "g": "9", "b": "8"}
_DRAWN = {
    "a": "аαɑ", "c": "сϲ", "e": "еε", "i": "іι", "o": "оοօ", "p": "рρ", "s": "ѕ", "x": "хχ", "y": "у", "j": "ј",
    "h": "һհ",
    "d": "ԁ", "n": "ոη", "u": "սυ", "k": "κк", "t": "тτ", "m": "м", "l": "ӏ", "g": "ɡց", "v": "ν", "w": "ԝω",
}  # fmt: skip
_MARKS = "\u0300\u0301\u0308\u0327\u0336"
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\ufe0f"


def _each(text: str, change: Callable[[str], str], rng: random.Random, share: float = 0.6) -> str:
    """`change` on a share of the ASCII letters."""
    return "".join(change(c) if c.isascii() and c.isalpha() and rng.random() < share else c for c in text)


def leet(text: str, rng: random.Random) -> str:
    return _each(text, lambda c: rng.choice(_LEET.get(c.lower(), c)), rng)


def homoglyphs(text: str, rng: random.Random) -> str:
    return _each(text, lambda c: rng.choice(_DRAWN.get(c, c)), rng)


def invisible(text: str, rng: random.Random) -> str:
    return "".join(c + (rng.choice(_INVISIBLE) if rng.random() < 0.5 else "") for c in text)


def marks(text: str, rng: random.Random) -> str:
    return _each(text, lambda c: c + rng.choice(_MARKS), rng)


def doubled(text: str, rng: random.Random) -> str:
    return _each(text, lambda c: c * rng.randint(2, 3), rng, share=0.3)


def case(text: str, rng: random.Random) -> str:
    return _each(text, str.upper, rng)


def wide(text: str, rng: random.Random) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def fancy(text: str, rng: random.Random) -> str:
    """A mathematical alphabet, a circled one, or a squared one."""
    small, capital = rng.choice([(0x1D41A, 0x1D400), (0x1D5BA, 0x1D5A0), (0x24D0, 0x24B6), (0x1F170, 0x1F170)])
    first = {"a": small, "A": capital}
    return _each(text, lambda c: chr(first["a" if c.islower() else "A"] + ord(c.lower()) - ord("a")), rng, share=1)


def apart(text: str, rng: random.Random) -> str:
    """Every letter by itself."""
    gap = rng.choice([" ", ".", "-", "_", " . "])
    return gap.join(c for c in text if not c.isspace())


def split(text: str, rng: random.Random) -> str:
    """Each longer word in two pieces."""
    gap = rng.choice([" ", "-", ".", "_", "/"])

    def cut(word: re.Match[str]) -> str:
        at = rng.randint(1, len(word[0]) - 1)
        return word[0][:at] + gap + word[0][at:]

    return re.sub(r"[a-zA-Z]{5,}", cut, text)


def together(text: str, rng: random.Random) -> str:
    """All words run together."""
    return re.sub(r"[^\w]+", "", text)


def swapped(text: str, rng: random.Random) -> str:
    """Two inner neighbours of each longer word in the wrong order."""

    def swap(word: re.Match[str]) -> str:
        at = rng.randint(0, len(word[0]) - 2)
        letters = word[0]
        return letters[:at] + letters[at + 1] + letters[at] + letters[at + 2 :]

    return re.sub(r"[a-zA-Z]{5,}", swap, text)


def masked(text: str, rng: random.Random) -> str:
    """A vowel of each word behind a star."""

    def mask(word: re.Match[str]) -> str:
        inner = [i for i, c in enumerate(word[0]) if c in "aeiou" and 0 < i < len(word[0]) - 1]
        at = rng.choice(inner) if inner else None
        return word[0] if at is None else word[0][:at] + "*" + word[0][at + 1 :]

    return re.sub(r"[a-zA-Z]{3,}", mask, text)


TRICKS: dict[str, Trick] = {
    trick.__name__: trick
    for trick in (
        leet, homoglyphs, invisible, marks, doubled, case, wide, fancy, apart, split, together, swapped, masked,
    )
}  # fmt: skip
# The change of no letter: a text keeps all its words, so nothing that was refused may pass.
LOSSLESS = ("homoglyphs", "invisible", "marks", "case", "wide", "fancy")

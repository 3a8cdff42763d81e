"""Texts as words that can be held against one another: stems of content words, and terms that are looked for.

`share` says how much of one text stands in another; a `Term` list finds words and phrases, and says which are denied.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
# Words that say how, not what: no picture is told by them.
FUNCTION = frozenset(
    """
    a an the and or but nor of in on at to from with without by for into onto over under up down out off as than then
    that this these those there here it its is are was were be been being am do does did has have had having he she
    they them his her hers their theirs him you your who whom whose which what where when while whilst if not no so
    such very too also just each every all both any some one another other others more most few many much same own
    between beside besides behind before after above below along around across against through near next toward
    towards upon within about during till until again only even still yet
    """.split()
)
_DENIES = frozenset("no not without never none nobody nothing neither nor lacks lacking avoids hardly".split())
_OFF = "take takes taking taken took throw throws threw strip strips stripped".split()
_DENIES_PAIR = frozenset(
    [
        ("free", "of"),
        ("instead", "of"),
        ("rather", "than"),
        ("devoid", "of"),
        ("away", "from"),
        *((w, "off") for w in _OFF),
    ]
)
REACH = 3  # content words after a denial that it covers, within its clause
_CLAUSE = re.compile(r"[,.;:!?()]+(?:\s|$)|\s+but\s+")


def words(text: str) -> list[str]:
    """The words of a text in lower case; "smoke-free" comes as "no smoke"."""
    lowered = re.sub(r"\b(\w+)-free\b", r"no \1", text.lower().replace("’", "'"))
    return [word.removesuffix("'s") for word in _WORD.findall(lowered)]


@functools.lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """A word without the endings of number, tense and manner: "smoking", "smoked" and "smoke" are one."""
    for ending in ("ingly", "edly", "ing", "ies", "ied", "ed", "es", "ly", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            rest = word.removesuffix(ending)
            return rest[:-1] if len(rest) > 3 and rest[-1] == rest[-2] and ending not in ("s", "e", "y") else rest
    return word


def content(text: str) -> list[str]:
    """The stems of the words that say something, in order."""
    return [stem(word) for word in words(text) if word not in FUNCTION and len(word) > 1]


def share(inner: str, outer: str) -> float:
    """The share of the first text's content words that the second has too; 1 where the first says nothing."""
    wanted, given = set(content(inner)), set(content(outer))
    missing = {word for word in wanted - given if not any(_akin(word, other) for other in given)}
    return 1 - len(missing) / len(wanted) if wanted else 1.0


def _akin(word: str, other: str) -> bool:
    """Whether two stems are of one family: "violen" and "violent", "bak" and "baker"."""
    least = min(len(word), len(other))
    return least >= 4 and word[: max(4, least - 1)] == other[: max(4, least - 1)]


def alike(first: str, second: str) -> bool:
    """Whether two texts say the same in the same words."""
    return content(first) == content(second)


class Terms:
    """Words and phrases to look for; "cig*" stands for any word that begins so."""

    def __init__(self, terms: Iterable[str]) -> None:
        self._exact: set[tuple[str, ...]] = set()
        self._open: set[tuple[str, ...]] = set()
        for term in terms:
            parts = tuple(words(term.rstrip("*")))
            if parts:
                (self._open if term.endswith("*") else self._exact).add(parts)
        self._longest = max(map(len, self._exact | self._open), default=0)
        self._beginnings = {parts[-1][:2] for parts in self._open}

    def count(self, text: str) -> int:
        """How often a text says them, less how often it denies them ("no smoke", "unharmed")."""
        return sum(self._count(said, denied) for said, denied in _clauses(text))

    def _count(self, said: list[str], denied: list[bool]) -> int:
        total = place = 0
        while place < len(said):
            size = self._at(said, place)
            if size:
                total += -1 if denied[place] else 1
            elif said[place].startswith("un") and self._at([said[place][2:]], 0):
                total -= 1
            place += max(size, 1)
        return total

    def __contains__(self, text: object) -> bool:
        """Whether a text has one of them, denied or not."""
        said = words(str(text))
        return any(self._at(said, place) for place in range(len(said)))

    def _at(self, said: list[str], place: int) -> int:
        """How many words the longest term has that begins at a place; 0 if none does."""
        for size in range(min(self._longest, len(said) - place), 0, -1):
            parts = tuple(said[place : place + size])
            if parts in self._exact or parts[-1][:2] in self._beginnings and self._begins(parts):
                return size
        return 0

    def _begins(self, parts: tuple[str, ...]) -> bool:
        *before, last = parts
        return any((*before, last[:end]) in self._open for end in range(2, len(last) + 1))


@functools.lru_cache(maxsize=1024)
def _clauses(text: str) -> list[tuple[list[str], list[bool]]]:
    """The clauses of a text: the words of each, and for each word whether a denial covers it."""
    return [(said := words(clause), _denied(said)) for clause in _CLAUSE.split(text)]


def _denied(said: list[str]) -> list[bool]:
    """For each word whether a denial covers it."""
    reach, covered = 0, []
    for place, word in enumerate(said):
        covered.append(reach > 0)
        reach -= reach > 0 and word not in FUNCTION
        if word in _DENIES or (said[place - 1] if place else "", word) in _DENIES_PAIR:
            reach = REACH
    return covered

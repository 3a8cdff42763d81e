"""How the safety check reads a text: as it is spelled, and as a person would read it through spelling tricks.

Every function is total and its time linear in the length of the text; what is looked for comes in as a `Vocabulary`.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterable
from itertools import groupby

_EMOJI = {
    "👶": " baby ",
    "🧒": " child ",
    "👦": " boy ",
    "👧": " girl ",
    "🍼": " infant ",
    "🔞": " nsfw ",
    "🍆": " penis ",
}
_LETTER = re.compile(
    r"LETTER (?:(?:SMALL|SCRIPT|CAPITAL|TURNED|REVERSED|OPEN|DOTLESS|INSULAR|LONG|SIDEWAYS) )*([A-Z])(?: WITH.*)?$"
)
_OTHERS = {"æ": "ae", "œ": "oe", "ϲ": "c", "Ϲ": "c"}
_DRAWN_LATIN = str.maketrans(
    "аеорсухіѕјԁһӏкмтвнгпԛԝүαβεηικνορτυχγωσսոօհցɑɡ", "aeopcyxisjdhlkmtbhrnqwyabenikvoptuxywounohgag"
)  # Cyrillic, Greek and Armenian letters drawn as Latin ones
_LEET = str.maketrans("013456789@$!|+€£¢¥", "oieasgtbgasiitelcy")
_SIGNS = "@$!|+€£¢¥"
_MASKS = "*#%•×·"
_ONE = re.compile(r"[1!|]")
_GAPS = re.compile(r"[^\w\u0900-\u0963\u0966-\u097f]+|_+")  # Hindi vowel signs are not word characters to `re`
_RAW_GAPS = re.compile(rf"[^\w\u0900-\u0963\u0966-\u097f{_SIGNS}{_MASKS}]+|_+")
_DIGITS = re.compile(r"(\d+)")
_LONGEST_WORD = 40  # longer ones are read piece by piece only
_LONGEST_RUN = 400  # letters set apart, likewise


@functools.lru_cache(maxsize=8192)
def _plain(character: str) -> str:
    """A character as it is compared: marks and invisible ones dropped, digits ASCII, odd Latin letters plain."""
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    if category in ("Mn", "Me", "Cf", "Cc") or character in "\u2800\u3164\u115f\u1160\u0640":
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category[0] == "L" or category == "So":
        name = unicodedata.name(character, "")
        if ("LATIN" in name or "REGIONAL" in name) and (found := _LETTER.search(name)):
            return found[1].lower()
    return _EMOJI.get(character) or _OTHERS.get(character, character)


def fold(text: str) -> str:
    """Lower case, compatibility forms folded, without diacritics and invisible characters."""
    if text.isascii() and text.isprintable():
        return text.lower()
    text = "".join(_OTHERS.get(character, character) for character in text)  # before the forms are folded away
    folded = "".join(map(_plain, unicodedata.normalize("NFKD", text).casefold()))
    return unicodedata.normalize("NFC", folded)  # Korean syllables whole again


def latin(folded: str) -> str:
    """A folded text with look-alike letters read as Latin ones."""
    return folded if folded.isascii() else folded.translate(_DRAWN_LATIN)


def spaced(text: str) -> str:
    """Words with one space between them: everything but letters and digits is a gap."""
    return _GAPS.sub(" ", text).strip()


def _lengths(word: str) -> list[int]:
    return [len(list(group)) for _, group in groupby(word)]


def _skeleton(word: str) -> str:
    return "".join(letter for letter, _ in groupby(word))


class Vocabulary:
    """The words that tricks are undone towards; `ordinary` ones are left alone.

    Words run together are divided at `words`, but those that only count `whole`, and at `glue`.
    """

    def __init__(
        self, words: Iterable[str], ordinary: Iterable[str], glue: Iterable[str], whole: Iterable[str]
    ) -> None:
        self.words = frozenset(words)
        self.ordinary = frozenset(ordinary)
        self.parts = {word for word in self.words - set(whole) if len(word) > 1} | set(glue)
        self.longest = max(map(len, self.parts))
        self.skeletons: dict[str, list[str]] = {}
        self.swapped: dict[str, str] = {}
        self.lengths: dict[int, list[str]] = {}
        # What a word that was taken apart may begin with; all other tokens stand for themselves.
        self.heads = {word[:size] for word in self.words if len(word) > 3 for size in range(len(word) + 1)}
        for word in sorted(self.words, key=lambda word: (-len(word), word)):
            self.skeletons.setdefault(_skeleton(word), []).append(word)
            self.lengths.setdefault(len(word), []).append(word)
            for i in range(len(word) - 1 if len(word) > 4 else 0):
                self.swapped[word[:i] + word[i + 1] + word[i] + word[i + 2 :]] = word
        self.undisguised = functools.lru_cache(maxsize=65_536)(self._undisguised)

    def letters(self, word: str) -> list[str]:
        """The known words that a word of plain letters stands for; none if it stands for itself."""
        if word in self.words or word in self.ordinary or len(word) < 2:
            return [word] if word in self.words else []
        have = _lengths(word)
        for known in self.skeletons.get(_skeleton(word), ()):
            if len(known) > 1 and all(a >= b for a, b in zip(have, _lengths(known), strict=True)):
                return [known]
        if word in self.swapped:
            return [self.swapped[word]]
        words, unknown = self.divided(word) if 5 < len(word) <= _LONGEST_WORD else ([], 1)
        return words if not unknown else []

    def divided(self, run: str) -> tuple[list[str], int]:
        """Letters in a row divided into known words, as few letters left over as can be, and how many are."""
        best: list[tuple[int, int, int]] = [(0, 0, 0)]  # at each place: letters left over, words, where the last began
        for end in range(1, len(run) + 1):
            left, count, _ = best[end - 1]
            options = [(left + 1, count, end - 1)]
            for begin in range(max(0, end - self.longest), end):
                if run[begin:end] in self.parts:
                    options.append((best[begin][0], best[begin][1] + 1, begin))
            best.append(min(options))
        words, end = [], len(run)
        while end:
            begin = best[end][2]
            words.append(run[begin:end])
            end = begin
        return words[::-1], best[-1][0]

    def _undisguised(self, raw: str) -> tuple[str, ...]:
        """What a token stands for: digits split from letters, leet, masked, repeated and swapped letters undone."""
        if raw.isdigit():
            return (raw,)
        bare = raw.strip("!|+" + _MASKS)
        for reading in (*_leet_readings(raw), *_leet_readings(bare)):
            if reading in self.words:
                return (reading,)
        pieces = [piece for piece in _DIGITS.split(bare) if piece]
        words_of = [[piece] if piece.isdigit() else self.letters(piece) if len(piece) > 1 else [] for piece in pieces]
        if len(pieces) > 1 and all(words_of):  # "15yearold"
            return tuple(word for words in words_of for word in words)
        for spelled in (raw, bare):
            for reading in _leet_readings(spelled):
                if words := self.letters(reading):
                    return tuple(words)
        if any(mask in bare for mask in _MASKS) and len(bare) <= _LONGEST_WORD:
            if found := self._masked(bare.translate(_LEET)):
                return (found,)
        return tuple(spaced(bare).split())

    def _masked(self, word: str) -> str | None:
        """The known word behind a masked one; a mask stands for one letter, or divides two."""
        letters = sum(c.isalpha() for c in word)
        pattern = re.compile("".join(c if c.isalpha() else "[a-z]?" for c in word))
        for length in range(len(word), max(letters, 2) - 1, -1):
            for known in self.lengths.get(length, ()):
                if letters * 2 >= length and pattern.fullmatch(known):
                    return known
        return None

    def _run(self, run: str) -> list[str]:
        """Letters that were set apart: divided, 1 as a digit, as i and as l, whichever leaves least over."""
        readings = [[word for word in _DIGITS.split(run) if word]] if _DIGITS.search(run) else [[run]]
        readings += [[run.replace("1", one).translate(_LEET)] for one in "il" if not run.isalpha()]
        divided = []
        for pieces in readings:
            parts = [([piece], 0) if piece.isdigit() else self.divided(piece) for piece in pieces]
            divided.append((sum(left for _, left in parts), [word for words, _ in parts for word in words]))
        return min(divided, key=lambda option: option[0])[1]

    def deobfuscate(self, text: str, apart: Iterable[str] = ()) -> list[str]:
        """The words of a folded text, tricks undone; neighbours that spell a word are joined unless in `apart`."""
        words: list[str] = []
        # Once before and once after each piece is deobfuscated: the e's of "pret een" are not one too many.
        tokens = self._joined([token for token in _RAW_GAPS.split(text) if token], frozenset(apart))
        for single, group in groupby(tokens, key=lambda token: len(token) == 1):
            run = list(group)
            if single and len(run) > 2:
                joined = "".join(run)
                for begin in range(0, len(joined), _LONGEST_RUN):
                    words += self._run(joined[begin : begin + _LONGEST_RUN])
            else:
                words += itertools.chain.from_iterable(map(self.undisguised, run))
        return self._joined(words, frozenset(apart))

    def _joined(self, words: list[str], apart: frozenset[str]) -> list[str]:
        joined: list[str] = []
        place = 0
        while place < len(words):
            for size in (3, 2, 1) if words[place] in self.heads else (1,):
                pieces = words[place : place + size]
                whole = "".join(pieces)
                if size == 1 or len(whole) > 3 and whole in self.words and " ".join(pieces) not in apart:
                    joined.append(whole)
                    place += size
                    break
        return joined


def _leet_readings(token: str) -> list[str]:
    """A token as letters, signs and digits read as leet, 1 as i and as l: at most 16 readings; none if it has gaps."""
    if token.isalpha():
        return [token]
    ones = len(_ONE.findall(token))
    if ones > 4 or len(token) > _LONGEST_WORD:
        return []
    found = []
    for letters in itertools.product("il", repeat=ones):
        spelled = iter(letters)
        reading = "".join(next(spelled) if c in "1!|" else c for c in token).translate(_LEET)
        if reading.isalpha():
            found.append(reading)
    return found

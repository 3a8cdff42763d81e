"""What a prompt must be to be kept: English, free of markup and control characters, short, naming no real person.

`check` gives the reason for which a text is dropped, or None; it never repeats the text. `clean` is for before: it
takes away what does no harm. The safety check is separate and comes first (datagen/safety/rules.py).
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from datagen.safety.spelling import fold, spaced
from datagen.text import names

MAX_CHARACTERS = 1_000  # a prompt of 77 tokens has about 350

CONTROL = "control characters"
BROKEN = "broken characters"
TOO_LONG = f"too long: at most {MAX_CHARACTERS:,} characters are accepted"
MARKUP = "markup"
PERSON = "name of a real person"
FOREIGN = "not English"

_HIDDEN = {"Cc", "Cs", "Co", "Cn"}
_TURNS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # these turn the reading direction around
_MARKUP = re.compile(
    r"</?[a-z!|][^<>]{0,500}>|&(?:#\d+|#x[0-9a-f]+|[a-z]{2,8});|!?\[[^\]\n]{0,200}\]\([^)\n]{0,500}\)|https?://|\bwww\.|"
    r"```|~~~|\{\{|\}\}|[{}\\]|\[/?(?:inst|sys|b|i|u|img|url)\]|<<sys>>|<\|[^|]{0,50}\|>|^\s*#{2,}\s|\x60|\*\*|__\w|"
    r"\$\(|(?:^|\s)(?:system|assistant|user)\s*:\s|javascript:",
    re.IGNORECASE | re.MULTILINE,
)
_BROKEN = re.compile("\ufffd|[ÃÂ][\x80-\xbf]|â€|ï»¿")  # what was decoded wrongly once
_FENCE = re.compile(r"^\s*```[a-z]*\n(.*?)\n?```\s*$", re.DOTALL | re.IGNORECASE)
_LEAD = re.compile(r"^\s*(?:[-*•]\s+|\d{1,3}[.)]\s+)?(?:(?:prompt|caption|scene|text)\s*\d*\s*:\s+)?", re.IGNORECASE)
_EMPHASIS = re.compile(r"(\*\*|__|\*|`)(?=\S)([^*`\n]{1,300}?)(?<=\S)\1")
_WEIGHT = re.compile(r"[(\[]+\s*([^()\[\]:]{1,200}?)\s*:\s*-?\d+(?:\.\d+)?\s*[)\]]+")  # "(cat:1.2)" of web interfaces
_NESTED = re.compile(r"\({2,}\s*([^()]{1,200}?)\s*\){2,}|\[{2,}\s*([^\[\]]{1,200}?)\s*\]{2,}")
_FLAG = re.compile(r"\s--[a-z]{1,10}(?:\s+[\d.:]+)?(?=\s|$)", re.IGNORECASE)  # "--ar 16:9"
_QUOTES = {'"': '"', "'": "'", "“": "”", "«": "»", "‘": "’"}


def check(text: str) -> str | None:
    """Why a text is dropped, or None; linear in its length. A text without words is not dropped here."""
    if len(text) > MAX_CHARACTERS:
        return TOO_LONG
    if any(c in _TURNS or unicodedata.category(c) in _HIDDEN and c not in "\n\t\r" for c in text):
        return CONTROL
    if _BROKEN.search(text):
        return BROKEN
    if _MARKUP.search(text):
        return MARKUP
    if names_a_person(text):
        return PERSON
    return None if is_english(text) else FOREIGN


def check_all(texts: Iterable[str]) -> str | None:
    """Why the texts of a row are dropped, or None: the reason of the first that is."""
    return next(filter(None, map(check, texts)), None)


def clean(text: str) -> str:
    """One line of text without list marks, labels, quotes, emphasis, weights and flags around or inside it."""
    text = unicodedata.normalize("NFC", text[: 10 * MAX_CHARACTERS])
    if fenced := _FENCE.match(text):
        text = fenced[1]
    text = "".join(c for c in text if unicodedata.category(c) != "Cf" or c in _TURNS)
    text = _LEAD.sub("", text, count=1)
    for pattern, kept in ((_EMPHASIS, r"\2"), (_WEIGHT, r"\1"), (_NESTED, r"\1\2"), (_FLAG, "")):
        text = pattern.sub(kept, text)
    text = " ".join(text.split())
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    return text


_STYLE_OF = re.compile(
    r"\b(?:by|in the (?:style|manner) of|(?:style|art|artwork|painting|painted|drawn|photo|photographed|directed|film|"
    r"portrait|photograph|picture|statue|bust|likeness|caricature|deepfake|lookalike|cosplay)s? (?:of|by))\s+"
    r"((?:[A-Z][\w'’.-]+\s+){1,2}[A-Z][\w'’-]+)"
)
_CAPITALS = re.compile(r"\b([A-Z][a-zà-ÿ'’-]+)\s+(?:[A-Z]\.?\s+)?((?:[Dd]e |[Vv]an |[Vv]on )?[A-Z][a-zà-ÿ'’-]+)\b")
_LOWER_STYLE = re.compile(
    r"\b(?:by|style of|manner of|portrait of|photo of|photograph of|picture of) ([a-z]+) ([a-z]{3,})\b"
)
_KNOWN_LENGTHS = sorted({name.count(" ") + 1 for name in names.KNOWN})
_KNOWN = {spaced(fold(name)) for name in names.KNOWN}
_HEADS = {name.split()[0] for name in _KNOWN}


def names_a_person(text: str) -> bool:
    """Whether a text names somebody widely known, an artist to imitate, or anybody by given name and surname."""
    folded = spaced(fold(text))
    for story in names.FICTION:
        folded = folded.replace(story, " ")
    words = folded.split()
    for place, word in enumerate(words):
        word = word.removesuffix("s") if word.removesuffix("s") in _HEADS else word
        if word in _HEADS:
            for size in _KNOWN_LENGTHS:
                whole = " ".join([word, *words[place + 1 : place + size]])
                if whole in _KNOWN or whole.removesuffix("s") in _KNOWN or whole.removesuffix(" s") in _KNOWN:
                    return True
    if any(_is_name(given, last) for given, last in _CAPITALS.findall(text)):
        return True
    for found in _STYLE_OF.findall(text):
        given, *_, last = found.split()
        if _plain(given) in names.GIVEN and _is_name(given, last):
            return True
    return any(
        given in names.GIVEN - names.ALSO_WORDS and last not in names.NOT_SURNAMES
        for given, last in _LOWER_STYLE.findall(folded)
    )


def _plain(name: str) -> str:
    return spaced(fold(name))


def _is_name(given: str, last: str) -> bool:
    """Whether two capitalised words are a given name and a surname, and not those of a fictional character."""
    first, second = _plain(given), _plain(last)
    known = first in names.GIVEN and not (names.NOT_SURNAMES & set(second.split()))
    return known and f"{first} {second}" not in names.FICTION and not (first in names.ALSO_WORDS and given.islower())


# The languages that prompts come in; with all 140 a short English prompt is taken for a rare one.
_LANGUAGES = "en es fr de it pt nl ru zh ja ko ar hi tr pl sv cs uk".split()
# Probability of English under which a text is foreign; terse English prompts come down to 0.03. Where small words of
# another language stand in it, the higher bound holds.
_LEAST, _LEAST_BESIDE_FOREIGN = 0.02, 0.1
_FOREIGN_SMALL = frozenset(
    """
    ein eine einer einem und mit im am auf der das den dem une les des dans avec sur au aux el los las con una del il
    gli nel nella della sul sulla uma com em na het een met van op nad przy pod ett och vid bir ve
    """.split()
)
# Words of English that no neighbour language writes so.
_ENGLISH = frozenset("the of with and his her beside under from an is are this while through near".split())


def _is_foreign(word: str) -> bool:
    """Whether a word is of another script, in whole or in part; a single letter may be a sign (α, π, Ω)."""
    others = sum("LATIN" not in unicodedata.name(c, "") for c in word if c not in "ªºµ")
    return others > 1 or 0 < others < len(word)


@functools.cache
def _identifier() -> Any:
    """py3langid's model over `_LANGUAGES` (loading it takes about a second)."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(_LANGUAGES)
    return identifier


def is_english(text: str) -> bool:
    """Whether a text may be English; a text of under three words is, unless a word is of another script."""
    letters = [c for c in text if c.isalpha()]
    if not letters:
        return True
    if any(_is_foreign(word) for word in re.findall(r"[^\W\d_]+", text)):
        return False
    words = re.findall(r"[^\W\d_]+", text.lower())
    if len(words) < 3 or sum(word in _ENGLISH for word in words) * 5 >= len(words):
        return True
    # Lower case, for capitals look like German to the model.
    least = _LEAST_BESIDE_FOREIGN if _FOREIGN_SMALL & set(words) else _LEAST
    return bool(dict(_identifier().rank(" ".join(words)))["en"] >= least)

"""What every text must pass before it is generated from, judged or stored, whatever a recipe says.

`refusal` (one text) and `refusal_of_row` (the fields of one row together) give the reason of a refusal or None. They
refuse sexual content involving minors and texts of absurd length, through paraphrase, spelling tricks and several
languages. Ordinary prompts with children pass. What the check cannot see is listed in docs/safety.md.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from datagen.safety import terms
from datagen.safety.spelling import Vocabulary, fold, latin, spaced

MAX_CHARACTERS = 10_000  # two orders of magnitude beyond what a text encoder reads

MINORS = "refused: sexual content involving minors"

# What a text holds, as bits.
AGE, SEXUAL, BOTH, DRESS, MANNER, SMALL, GARB, MIND, UNDRESSES, UNAGES = (1 << bit for bit in range(10))


def refusal(text: str) -> str | None:
    """Why a text is refused, or None. The reason never repeats the text; the time is linear in its length."""
    return refusal_of_row([text])


def refusal_of_row(texts: Iterable[str], negatives: Iterable[str] = ()) -> str | None:
    """Why the texts of one row (context prompt, wordings, principle) are refused, each or together, or None.

    Negative prompts name what must not be seen, so their words do not count, except those whose removal turns a text
    into one that is refused: clothes with a child, adults with what is sexual.
    """
    found = away = 0
    for text in texts:
        if too_long := length_refusal(text):
            return too_long
        found |= _cues(text)
    for text in negatives:
        if too_long := length_refusal(text):
            return too_long
        away |= _cues(text)
    sexual, aged = found & AGE and away & UNDRESSES, found & SEXUAL and away & UNAGES
    found |= (SEXUAL if sexual else 0) | (AGE if aged else 0)
    return MINORS if _refused(found) else None


def length_refusal(text: str) -> str | None:
    """Why a text is too long to be read, or None."""
    if len(text) > MAX_CHARACTERS:
        return f"refused: text of {len(text):,} characters, at most {MAX_CHARACTERS:,} are accepted"
    return None


def _refused(found: int) -> bool:
    dressed = found & DRESS and found & MANNER
    young = sum(bool(found & cue) for cue in (SMALL, GARB, MIND)) >= 2
    return bool(found & BOTH or (found & AGE or young) and (found & SEXUAL or dressed and found & AGE))


def _listed(table: str) -> list[str]:
    """The terms of a table, folded as texts are, a final `*` kept."""
    found = (term.strip() for term in table.split("|"))
    return [spaced(fold(term.rstrip("*"))) + "*" * term.endswith("*") for term in found if term]


def _tables() -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Words, phrases of several words, and beginnings of words, each with what it says."""
    words: dict[str, int] = {}
    phrases: dict[str, int] = {}
    stems: dict[str, int] = {}
    tables = [
        (AGE, terms.AGE), (SEXUAL, terms.SEXUAL), (BOTH, terms.BOTH), (DRESS, terms.DRESS), (MANNER, terms.MANNER),
        (SMALL, terms.SMALL), (GARB, terms.GARB), (MIND, terms.MIND), (UNDRESSES, terms.UNDRESSES),
        (UNAGES, terms.UNAGES), (AGE, terms.AGE_ABROAD), (SEXUAL, terms.SEXUAL_ABROAD),
    ]  # fmt: skip
    for flag, table in tables:
        for term in _listed(table):
            into = stems if term.endswith("*") else phrases if " " in term else words
            endings = ("", "s", "z") if table is terms.AGE and not term.endswith("s") else ("",)
            for ending in endings:
                key = term.rstrip("*") + ending
                into[key] = into.get(key, 0) | flag
    return words, phrases, stems


_WORDS, _PHRASES, _STEMS = _tables()
_PAIRS = [
    (set(_listed(words)), tuple(term.rstrip("*") for term in _listed(partners)))
    for words, partners in terms.PAIRED.items()
]
_LONGEST_PHRASE = max(phrase.count(" ") + 1 for phrase in _PHRASES)
_PHRASE_HEADS = {phrase.split()[0] for phrase in _PHRASES}
_STEM_LENGTHS = sorted({len(stem) for stem in _STEMS})
_SPELLED = {word: flags for word, flags in _WORDS.items() if flags & (AGE | SEXUAL | BOTH)}
_SHORT = {"sex", "kid", "boy", "xxx"}  # the only short terms that count inside other letters
_VOCABULARY = Vocabulary(
    words=[*_WORDS, *" ".join(_PHRASES).split(), *terms.AGE_WORDS.split()],
    ordinary=terms.ORDINARY,
    glue=terms.GLUE,
    whole={word for word in _SPELLED if len(word) < 4} - _SHORT,
)
# Terms that may stand inside a longer word.
_INSIDE = {w: f for w, f in _SPELLED.items() if w.isascii() and (len(w) > 3 or w in _SHORT)}
_LONGEST = max(map(len, _INSIDE))
_BENIGN = re.compile(rf"\b(?:{terms.BENIGN})\b")
_LOLITA = re.compile(rf"\b(?:{terms.LOLITA_FASHION})\b")
_ANYWHERE = [
    (AGE, re.compile(fold(terms.AGE_ANYWHERE.replace("\n", "")))),
    (SEXUAL, re.compile(fold(terms.SEXUAL_ANYWHERE.replace("\n", "")))),
    (BOTH, re.compile(fold(terms.BOTH_ANYWHERE))),
]
_INNER_STEMS = [
    (SEXUAL, re.compile(terms.SEXUAL_STEMS)),
    (AGE, re.compile(terms.AGE_STEMS)),
    (BOTH, re.compile(terms.BOTH_STEMS)),
]

_NAMED = (
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
)
_ORDINAL = "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth"
_N = rf"(?:0?[0-9]|1[0-7]|{_NAMED})"
_UNITS = (
    "feet|foot|ft|inch(?:es)?|met(?:er|re)s?|cm|m|km|minutes?|seconds?|hours?|o clock|am|pm|percent|dollars|people|"
    "men|women|adults|of|steps?|stars?|times|colou?rs|to|x|mm|miles?|pages?|floors?|stor(?:y|ies|eys)|and"
)
_AGED = re.compile(
    rf"\b{_N}(?: and a half)? ?(?:years?|yrs?|y) ?(?:olds?|of age|young|os?)\b|"
    rf"\b{_N} (?:(?:to|or|and|through) )?\d\d? ?(?:years?|yrs?|y) ?(?:olds?|of age|os?)\b|"
    rf"\bage[ds]? (?:(?:of|is|about|around|only|just|approximately|between) )*{_N}\b|"
    rf"\b(?:{_N}(?:th|st|nd|rd)?|{_ORDINAL}|(?:thir|four|fif|six|seven)teenth) birthday\b|"
    rf"\b(?:under|below|younger than|less than|not yet|not even|before) (?:the age of )?"
    rf"(?:{_N}|18|eighteen|consent)\b|"
    r"\b(?:u|sub) ?18\b|\bk 12\b|\bearly teens\b|"
    rf"\b(?:is|looks|only|just|turned|turning|she s|he s|barely|maybe) "
    rf"(?:(?:about|like|only|just|an?|around|barely) )*{_N}\b(?! (?:{_UNITS})\b)|"
    r"\b\d+ ?(?:months?|weeks?|days?|mos?) olds?\b|"
    rf"\b(?:{_ORDINAL}|1?[0-9] ?(?:st|nd|rd|th)) (?:graders?|grade|form)\b|\bgrade {_N}\b|"
    rf"\byear {_N} (?:students?|pupils?|girls?|boys?|class)\b|"
    r"\b(?:0?[0-9]|1[0-7]) ?(?:ans|anos|anni|jahren?|jahrig\w*|jaehrig\w*|jaar|jarig\w*|лет\w*|год\w*|lat|letni\w*|"
    r"yas\w*|yaş\w*|साल|वर|سن|عام|أعوام|اعوام)"
)
# In scripts without gaps.
_AGED_CLOSE = re.compile(
    r"(?<![0-9])(?:[0-9]|1[0-7])(?:岁|歲|才|歳|살|세)|"
    r"(?<![一二三四五六七八九十百])(?:[一二三四五六七八九]|十[一二三四五六七]?)(?:岁|歲|才|歳)|"
    r"(?:열|하나|둘|세|네|다섯|여섯|일곱|여덟|아홉)(?:한|두|세|네|다섯|여섯|일곱)?살"
)
# "…, 14, …", "Lena (9)", "[six]".
_ALONE = re.compile(
    rf"[,;(]\s*1[0-7]\s*(?:[,;)]|$)|[,;]\s*[3-9]\s*(?:[,;]|$)|[(\[]\s*(?:[1-9]|1[0-7]|{_NAMED})\s*[)\]]"
)
# Undressing in many words: a verb, what may stand between, and clothes as a whole; a coat or a hat alone is none.
_BETWEEN = (
    r"(?:(?:of|all|any|his|her|their|its|my|a|an|every|each|piece|item|article|bit|stitch|"
    r"shred|scrap|thread|last|more|single) )*"
)
_CLOTHES = r"(?:clothes|clothing|garments?|attire)\b(?! (?:line|rack|hanger|peg|horse|shop|rail|pin))"
_UNDRESSED = re.compile(
    rf"\b(?:tak\w+|took|strip\w*|pull\w*|peel\w*|slip\w*|throw\w*|threw|cast\w*|kick\w*|rip\w*|tear\w*|tore) off "
    rf"{_BETWEEN}{_CLOTHES}|"
    rf"\b(?:shed\w*|strip\w*|stripped|devoid|bare|lack\w*|without|sans|minus|no|out of|discard\w*|freed|rid) "
    rf"{_BETWEEN}{_CLOTHES}|"
    r"\b(?:wear\w*|wore|clad in|clothed in|dressed in|dressed only in|attired in) (?:\w+ly )?"
    r"(?:nothing|not a thing)\b|"
    r"\b(?:wear\w*|wore|clad|dressed|in) (?:in )?(?:only|just|nothing but)(?: in)? (?:a smile|socks|shoes|boots|a hat|"
    r"(?:his|her|their|its) skin|skin|sunglasses)\b|"
    r"\bbare (?:from (?:head|the waist|top)|below the waist|bod(?:y|ies)|all over)\b|\bin the (?:altogether|raw)\b|"
    r"\b(?:slip|slipp|wriggl)\w* out of (?:his|her|their) (?:dress|shirt|skirt|trousers|pants|pyjamas|pajamas|"
    r"robe|gown|swimsuit)\b|"
    r"\b(?:clothes|clothing|garments?) (?:(?:all|are|is|have|were|been|long) )*(?:gone|shed|discarded)\b|"
    r"\bdown to nothing\b|"
    r"\bstrip\w* (?:bare|to the (?:skin|buff))\b|"
    rf"\b(?:not|isn t|aren t|never|zero|barely|hardly) (?:wear\w* )?{_BETWEEN}{_CLOTHES}|"
    r"\b(?:wear\w*|wore|has|have|had|with) (?:not |never )?(?:a|one) (?:single )?(?:stitch|thread|rag) on\b|"
    r"\b(?:not|without|never|nor) (?:wear\w* )?(?:a|one|any) (?:single )?(?:stitch|thread|rag)\b"
    r"(?! (?:out of|dropped|missed|amiss|needed|wrong))|"
    r"\bcloth(?:es|ing) free\b(?! (?:of|from|to|for))|\bbar(?:es|ed|ing) (?:it all|all|everything|"
    r"(?:his|her|their) (?:whole )?(?:body|skin))\b|\bbare as (?:the day|at birth|when|a newborn)\b|"
    r"\b(?:completely|totally|entirely|fully|utterly|wholly) bare\b(?! \w+)"
)
# Both cues in one word, as languages that compound have it, in either order.
_YOUNG = (
    "kind(?:er|es)?|barne?|borne?|schuler(?:in(?:nen)?)?|schueler(?:in(?:nen)?)?|madchen|maedchen|knaben?|jungen|babys?|"
    "teen(?:ager)?|jugend|minderjahrigen?|flick(?:or|a)?|pojk(?:ar|e)?|pigen?|drenge?|jenten?|gutten?|"
    "meisjes?|jongens?|kleuter"
)
_BARED = "nackt|naakt|naken|naket|nogen|porno?|porr|sex|seks|erotik|aktfoto|aktbild|entblosst"
_COMPOUND = re.compile(
    rf"\b\w{{0,8}}(?:{_YOUNG})s?(?:{_BARED})|"
    rf"\b(?:{_BARED})(?:foto|bild|bilder|fotos|e|es|er)?(?:{_YOUNG})\w*\b"
)


@functools.lru_cache(maxsize=4_096)  # principles and negative prompts are those of every row
def _cues(text: str) -> int:
    """What a text holds: as it is spelled, with look-alike letters read as Latin ones, and with tricks undone."""
    folded = fold(text)
    plain = latin(folded)
    found = AGE if _ALONE.search(folded) else 0
    for reading in {spaced(folded), spaced(plain), " ".join(_VOCABULARY.deobfuscate(plain, terms.NEIGHBOURS))}:
        words = _BENIGN.sub(" ", reading)
        if _LOLITA.search(words):
            words, found = _LOLITA.sub(" ", words), found | AGE
        found |= (AGE if _AGED.search(words) else 0) | (SEXUAL if _UNDRESSED.search(words) else 0)
        found |= (AGE | SEXUAL if _COMPOUND.search(words) else 0) | _in_words(words.split())
    if not folded.isascii():
        close = spaced(folded).replace(" ", "")
        found |= sum(flag for flag, pattern in _ANYWHERE if pattern.search(close))
        found |= AGE if _AGED_CLOSE.search(close) else 0
    return found


def _in_words(words: list[str]) -> int:
    """What words say one by one, as phrases, and as pairs of one language."""
    found = 0
    for place, word in enumerate(words):
        found |= _word(word)
        if word in _PHRASE_HEADS:
            for size in range(2, _LONGEST_PHRASE + 1):
                found |= _PHRASES.get(" ".join(words[place : place + size]), 0)
    known = set(words)
    for beside, partners in _PAIRS:
        if beside & known and any(word.startswith(partners) for word in known - beside):
            found |= AGE | SEXUAL
    return found


_ARABIC_PREFIX = re.compile(r"^[وفبلك]?(?:ال|ل)?(?=\w{3})")  # article and what is written as one word with the next


@functools.lru_cache(maxsize=65_536)
def _word(word: str) -> int:
    """What one word says, whole, by its beginning (in languages of many endings), or by what stands inside it."""
    if word in _WORDS or word in terms.ORDINARY:
        return _WORDS.get(word, 0)
    found = 0
    for beginning in {word, _ARABIC_PREFIX.sub("", word)}:
        found |= _WORDS.get(beginning, 0)
        for length in _STEM_LENGTHS:
            found |= _STEMS.get(beginning[:length], 0)
    if len(word) < 6:
        return found
    spans = [
        (begin, end, _INSIDE[word[begin:end]])
        for begin in range(len(word) - 2)
        for end in range(begin + 3, min(begin + _LONGEST, len(word)) + 1)
        if word[begin:end] in _INSIDE
    ]
    for begin, end, flags in spans:  # both cues in one word, side by side
        if flags & AGE and any(other & SEXUAL and (end <= b or e <= begin) for b, e, other in spans):
            found |= AGE | SEXUAL
    for flag, stem in _INNER_STEMS:
        found |= flag if stem.search(word) else 0
    return found

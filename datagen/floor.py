"""What every text must pass before it is generated from, judged or stored, whatever a recipe says.

`check` gives the reason of a refusal or None. It refuses sexual content involving minors and texts of absurd length;
it reads through diacritics, leet spelling, look-alike letters and letters set apart. Ordinary prompts with children
pass.
"""

from __future__ import annotations

import re
import unicodedata

MAX_CHARACTERS = 10_000  # two orders of magnitude beyond what a text encoder reads

MINORS = "refused: sexual content involving minors"

# Whole words, a plural "s" allowed. "girl" and "boy" may mean adults: beside a sexual term, doubt refuses.
_AGE = """
child|children|childlike|kid|kiddo|kiddie|minor|underage|underaged|under age|preteen|pre teen|tween|teen|teenage|
teenager|teenaged|adolescent|juvenile|toddler|infant|baby|babies|newborn|boy|girl|little one|pupil|schoolgirl|
schoolboy|schoolkid|schoolchild|schoolchildren|preschooler|kindergartner|kindergartener|elementary school|
middle school|primary school|grade school|high school|kindergarten|preschool|high schooler|middle schooler|
first grader|second grader|third grader|fourth grader|fifth grader|sixth grader|seventh grader|eighth grader|
prepubescent|pubescent|prepubertal|enfant|fillette|niño|niña|mädchen|kleinkind|bambino|bambina|bambini|menina|menino|
criança|ребенок|дети|девочка|мальчик
"""
_SEXUAL = """
sex|sexual|sexually|sexualized|sexualised|sexy|nude|nudes|nudity|naked|nakedness|topless|undressed|undressing|
unclothed|nsfw|porn|porno|pornographic|pornography|erotic|erotica|hentai|xxx|x rated|genital|genitals|genitalia|penis|
vagina|vulva|pussy|dick|cock|breasts|boobs|tits|titties|nipple|nipples|buttocks|intercourse|blowjob|handjob|cum|
cumshot|orgasm|orgasmic|masturbate|masturbating|masturbation|horny|seductive|seductively|seducing|lewd|lingerie|bdsm|
bondage|fetish|stripper|striptease|spread legs|legs spread|fuck|fucked|fucking|rape|raped|raping|molest|molested|
molesting|incest|provocative pose|upskirt|thong|without clothes|without any clothes|no clothes|wearing nothing|
desnuda|desnudo|nackt|nackte|nuda|nudo|pelada|голая|голый|секс
"""
# Terms that join age and sex by themselves.
_BOTH = "loli|lolis|lolita|lolicon|shota|shotas|shotacon|toddlercon|childporn|kiddieporn|pedo|pedophile|pedophilia|" \
    "paedo|paedophile|paedophilia|jailbait|csam"  # fmt: skip
_BENIGN = "naked eye|naked mole rats?|pussy willows?|chicken breasts?|minor keys?"

_NUMBERS = "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
_YEARS = rf"(?:[0-9]|1[0-7]|{_NUMBERS})"
_AGED = rf"\b(?:{_YEARS} ?(?:years? old|years? of age|yrs? old|yo|y o)|aged? (?:of )?{_YEARS})\b"

_LEET = str.maketrans("013457@$!|", "oieastasii")
_LOOKALIKES = str.maketrans("аеорсухіѕјԁνοαερ", "aeopcyxisjdvoaep")  # Cyrillic and Greek letters drawn as Latin ones
_APART = re.compile(r"\b(?:[a-z][ ._*-]){2,}[a-z]\b")


def _letters(text: str) -> str:
    """Lower case, compatibility forms folded, without diacritics and invisible characters."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return "".join(c for c in decomposed if not unicodedata.combining(c) and unicodedata.category(c) != "Cf")


def _spaced(text: str) -> str:
    """Everything but letters and digits becomes one space."""
    return re.sub(r"[\W_]+", " ", text).strip()


def _alternation(table: str) -> str:
    """The words of a table folded as texts are, longest first."""
    words = {_spaced(_letters(word)) for word in table.split("|")} - {""}
    return "|".join(sorted(words, key=lambda word: (-len(word), word)))


_AGE_PATTERN = re.compile(rf"\b(?:{_alternation(_AGE)})s?\b|{_AGED}")
_SEXUAL_PATTERN = re.compile(rf"\b(?:{_alternation(_SEXUAL)})\b")
_BOTH_PATTERN = re.compile(rf"\b(?:{_alternation(_BOTH)})\b")
_BENIGN_PATTERN = re.compile(rf"\b(?:{_BENIGN})\b")
_LONG_TERM = re.compile("|".join(w for w in _alternation(f"{_AGE}|{_SEXUAL}|{_BOTH}").split("|") if len(w) > 3))


def _join(apart: re.Match[str]) -> str:
    """Letters set apart, joined, with a space around each term that they spell."""
    return _LONG_TERM.sub(lambda term: f" {term[0]} ", re.sub(r"[ ._*-]", "", apart[0]))


def _readings(text: str) -> list[str]:
    """The text as it is spelled, and as a person would read it."""
    plain = _letters(text)
    latin = plain.translate(_LOOKALIKES)
    readings = (plain, latin, latin.translate(_LEET), _APART.sub(_join, latin.translate(_LEET)))
    return [_BENIGN_PATTERN.sub("", _spaced(reading)) for reading in readings]


def check(text: str) -> str | None:
    """Why a text is refused, or None. The reason never repeats the text; the time is linear in its length."""
    if too_long := check_length(text):
        return too_long
    readings = _readings(text)
    if any(_BOTH_PATTERN.search(reading) for reading in readings):
        return MINORS
    aged = any(_AGE_PATTERN.search(reading) for reading in readings)
    if aged and any(_SEXUAL_PATTERN.search(reading) for reading in readings):
        return MINORS
    return None


def check_length(text: str) -> str | None:
    """Why a text is too long to be read, or None. Enough for negative prompts, which name what must not be seen."""
    if len(text) > MAX_CHARACTERS:
        return f"refused: text of {len(text):,} characters, at most {MAX_CHARACTERS:,} are accepted"
    return None

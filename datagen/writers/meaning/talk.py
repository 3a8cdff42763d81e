"""Is a text what a picture shows, or talk: a refusal, a stand-in, the instruction said back, words about the task?

Applied to each text that an LLM writes, by itself. A description that looks like talk is rare and its loss cheap.
"""

from __future__ import annotations

import functools
import re

from datagen.llm.typed.refusals import declines
from datagen.recipe import PROMPTS
from datagen.writers.meaning.words import words

REFUSAL = "a refusal in the place of a text"
PLACEHOLDER = "a placeholder in the place of a text"
ECHO = "the instruction is repeated"
TASK = "it is about the task"

RUN = 5  # words in a row of an instruction that no description has by chance

_TEXT = "(?:text|description|prompt|answer|sentence|wording|caption|content|words?|harm|violation|details?)"
_OTHER = "(?:above|below|before|previous|prompt|original|chosen|rejected|other|earlier|first|former|latter)"
_FIELD = "(?:prompt|insert|your|text|description|rejected|chosen|violation|harm|scene|here|principle)"
_PICTURE = "(?:picture|image|scene|text)"
_STANDS_IN = [
    r"^\W*[<\[{(‹][^<>\[\]{}()‹›]{1,120}[>\]})›]\W*$",  # "<prompt>", "[harmful version]", "(later)"
    rf"[<\[{{‹]+ ?(?:[\w-]+[ _]){{0,6}}{_FIELD}\w*(?:[ _][\w-]+){{0,6}} ?[>\]}}›]",
    r"\blorem ipsum\b|\bdolor sit amet\b|\b(?:todo|tbd|tba|fixme|n/a|placeholder|xxx+|foobar|asdf\w*)\b",
    r"\b(?:blah|ditto|idem)\b|\bunchanged except\b|\b(?:fill(?:ed)?|goes) in (?:later|here)\b",
    rf"\b(?:your|insert|enter|add|put|some|more|another) (?:\w+ ){{0,3}}{_TEXT}\b|\b{_TEXT} (?:goes|go|comes|to be) ",
    rf"\b{_TEXT} (?:here|\d+)\b",
    rf"\b(?:same|identical|similar|equal|unchanged) (?:as|to|from) (?:the )?{_OTHER}\b",
    rf"\b(?:opposite|reverse|version|copy) (?:of|to) (?:the )?{_OTHER}\b",
    r"\b(?:see|as) (?:the )?(?:above|below|before|previous|prompt|original|chosen|rejected)\b(?! (?:the|an?|his)\b)",
    r"\b(?:with|without|plus|including|just) (?:the|a|some) (?:violation|harm|principle|preference)\b",
    r"(?:^|[.,;:]) *(?:string|none|null|nil|nan|undefined|unknown|insert|text|prompt|description)\W*(?:[,;]|$)",
    r"^\W*(?:(?:example|sample|dummy|some|a|the|another|any|rejected|chosen|good|bad|harmful|harmless|violating|aligned|"
    r"empty|blank|null|none|nil|unknown|undefined|string|text|description|prompt|wording|picture|image|sentence|caption|"
    r"version|scene|value|of|for|output|here|negative|positive|field|data|test)(?:\W+|$))+$",
]
_OF_THE_TASK = [
    r"\b(?:wordings?|paraphrase[ds]?|text-to-image|(?:value )?principles?|taxonom\w+|image generat\w+|annotat\w+)\b",
    r"\b(?:prompt|sentence)s?\b(?! (?:book|box|on (?:the|a)))|\bdescriptions? of (?:the|a) (?:scene|picture|image)",
    r"\b(?:the|this|that|a|an|following|short|three|two|of) descriptions?\b",
    rf"\b(?:the|a|an|this|that) {_PICTURE} (?:(?:that|which|should|must|to|does|do|not|will|plainly) )*"
    r"(?:follow|break|violat|breach|compl|adher|respect|illustrat|depict|describ|embod|model|rule)",
    r"\b(?:violat\w+|compl(?:y|ies) with|adher\w+ to|follow(?:s|ing)?|break(?:s|ing)?) (?:the|a|this|its|any|our) "
    r"(?:rule|value|guideline|instruction|statement|request|violation|constraint|preference)s?\b",
    rf"\b(?:the|this) (?:same|above|given|original|following|requested|aligned|rejected|chosen) {_PICTURE}\b",
    r"\bconsidered inappropriate\b|\bat (?:most|least) \w+ words\b|\bseparated by commas\b",
    r"\bjson\b|\bdata ?sets?\b",
    r"\bthe (?:user|generator) (?:asks?|wants?|should|will|must|requests?)\b|\bas (?:requested|instructed|asked)\b",
    r"(?:^|[.;:!?]\s)\W*(?:describe|write|rewrite|provide|generate|reply|respond|return|output|ensure|make sure|"
    r"remember|replace|change|rephrase|mention)\b|\bas (?:few|many|little) (?:words )?as (?:possible|you can)\b",
    r"^\W*(?:sure|certainly|of course|okay|absolutely|great)\s*[,!.:]|\bwhat (?:should|must|is to) be \w+|\?\s*$",
    r"\bhere (?:is|are) (?:the|a|an|your|three|my|one) (?:\w+ )?"
    r"(?:version|text|reply|answer|result|output|list|scene|prompt|idea)",
    r"\b(?:ignore|disregard|forget) (?:\w+ ){0,3}(?:above|previous|instructions?|rules?|prior|rest)\b",
]
_FIRST_PERSON = re.compile(
    r"\bI (?:am|have|can|could|will|would|did|do|don['’]t|must|should|need|think|cannot|can['’]t|won['’]t|hope|want|"
    r"understand|tried|chose|kept|made|added|wrote|prefer|refuse|skip|decided)\b|\bI['’](?:m|ve|ll|d)\b|"
    r"\bmy (?:answer|reply)\b"
)
_PLACEHOLDER = re.compile("|".join(_STANDS_IN), re.IGNORECASE)
_TASK = re.compile("|".join(_OF_THE_TASK), re.IGNORECASE)


def problem(text: str) -> str | None:
    """Why a text is talk and no description, or None."""
    if not any(character.isalnum() for character in text):
        return PLACEHOLDER
    if declines(text):
        return REFUSAL
    if _PLACEHOLDER.search(text):
        return PLACEHOLDER
    if _echoes(text):
        return ECHO
    return TASK if _TASK.search(text) or _FIRST_PERSON.search(text) else None


def _echoes(text: str) -> bool:
    """Whether a text has some words in a row from what the LLM is told to do."""
    said = words(text)
    return any(tuple(said[place : place + RUN]) in _instructions() for place in range(len(said) - RUN + 1))


@functools.cache
def _instructions() -> frozenset[tuple[str, ...]]:
    """Every run of words of the templates, but for what stands in their variables."""
    runs: set[tuple[str, ...]] = set()
    for path in sorted((PROMPTS / "templates").glob("*.md")):
        for part in re.split(r"\$\w+|<\w+>|</\w+>", path.read_text(encoding="utf-8-sig", errors="replace")):
            told = words(part)
            runs.update(tuple(told[place : place + RUN]) for place in range(len(told) - RUN + 1))
    return frozenset(runs)

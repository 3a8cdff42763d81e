"""Recognises a model that declines, in the languages that models use to decline.

It reads the start of a text and no further: what a story says later is a story. Prose is asked about only where JSON
was expected; a value inside valid JSON counts only if it is an assistant's set phrase and little else.
"""

from __future__ import annotations

import re

START = 240  # characters of a text in which a refusal shows

_CANNOT = r"(?:can(?:no|['’])t|can not|won['’]t|will not|(?: am|['’]m) (?:unable|not able|not going) to)"
_HELP = r"(?:assist|help|comply|fulfil+|provide|create|generate|produce|write|do|continue|engage|support|describe)"

# Where JSON was asked for, prose that begins like this is not a failed attempt at it.
_PROSE = re.compile(
    "|".join(
        [
            rf"\bI\s?{_CANNOT}\b",
            r"\bI(?:['’]m| am) (?:very |really |so )?(?:sorry|afraid)\b",
            r"\bI (?:must|have to|need to) (?:decline|refuse)\b",
            r"^(?:sorry|apologies|unfortunately)\b",
            r"\bI apologi[sz]e\b",
            r"\bas an? (?:AI|artificial intelligence|(?:large )?language model)\b",
            r"\b(?:against|violates?) (?:my|our|the) (?:\w+ )?(?:guidelines|polic(?:y|ies)|principles)\b",
            r"\bthis (?:request|prompt|content) (?:violates|is not allowed|cannot be)\b",
            r"es tut mir (?:sehr )?leid|ich kann (?:\w+ ){0,4}nicht|(?:dabei|leider) kann ich",  # German
            r"je suis désolé|désolée?,|je (?:ne peux|ne suis) pas|je ne suis pas en mesure",  # French
            r"lo siento|no puedo (?:ayudar|cumplir|generar|crear|proporcionar)|no me es posible",  # Spanish
            r"sinto muito|desculpe|não posso (?:ajudar|atender|criar|gerar|fornecer)",  # Portuguese
            r"mi dispiace|non posso (?:aiutar|fornir|generar|crear|soddisfar)",  # Italian
            r"het spijt me|ik kan (?:\w+ ){0,3}niet",  # Dutch
            r"przykro mi|przepraszam|nie mogę",  # Polish
            r"извините|простите|к сожалению|я не могу",  # Russian
            r"üzgünüm|yardımcı olamam",  # Turkish
            r"xin lỗi|tôi không thể",  # Vietnamese
            r"maaf,|saya tidak (?:bisa|dapat)",  # Indonesian
            r"抱歉|对不起|對不起|我不能|我无法|我無法",  # Chinese
            r"申し訳|お手伝いできません|お答えできません|ことはできません",  # Japanese
            r"죄송|할 수 없습니다|도와드릴 수 없",  # Korean
            r"عذرا|عذرًا|آسف|لا أستطيع|لا يمكنني",  # Arabic
            r"क्षमा करें|माफ़? ?कर|नहीं कर सकता",  # Hindi
        ]
    ),
    re.IGNORECASE,
)

# A set phrase as the whole of a JSON string, which is how a model declines that the server forces into a schema.
_INSIDE = re.compile(
    rf""""(?<!\\")(?:I(?:['’]m| am) (?:so |very )?sorry,? (?:but )?|Sorry,? (?:but )?)?I\s?{_CANNOT} {_HELP}\b"""
    r"""[^"\\]{0,60}\b(?:with|that|this|request|content|image|prompt)\b[^"\\]{0,160}\"""",
)

# The same in the third person, as it stands in a field: what is withheld, and by what rule.
_SAY = (
    "(?:describ|depict|writ|word|provid|creat|generat|produc|show|includ|display|render|illustrat|fulfil|complet|comply|"
    "assist|help)"
)
_TEXT = "(?:content|text|description|version|request|part|wording|scene|topic|sentence|this|it)"
_BE = "(?:(?:is|was|are|has been|have been|had to be|must be) )?"
_GONE = (
    "(?:not (?:available|allowed|permitted|possible|appropriate|shown|suitable|provided|supported)|omitted|removed|"
    "blocked|filtered|left out|unavailable|declined|refused|skipped|disallowed|prohibited)"
)
_UNABLE = (
    "(?:not (?:be )?(?:able|allowed|permitted|comfortable|possible|willing|going|appropriate)|unable|unwilling|"
    "declin\\w+|refus\\w+|prefer not|rather not|impossible|inappropriate)"
)
_NOT = "(?:cannot|can['’]t|could not|won['’]t|will not|would not|do not|don['’]t|must not|may not|should not)"
_BAD = "(?:harmful|explicit|inappropriate|disallowed|prohibited|unsafe|objectionable|sensitive|offensive|graphic)"
_THING = "(?:content|material|topics?|subjects?|requests?|versions?|descriptions?|imagery|details|depictions?|themes?)"
_KIND = "(?:content|usage|safety|use|community|moderation|ethical)"
_RULE = "(?:polic(?:y|ies)|guidelines?|rules?|standards?|reasons?|concerns?|filters?|restrictions?|constraints?)"
_WITHHELD = re.compile(
    "|".join(
        [
            r"\b(?:withheld|redacted|censored)\b|\[(?:removed|deleted|blocked|filtered|omitted)\b",
            rf"\b{_TEXT} (?:\w+ ){{0,2}}{_BE}{_GONE}\b|\b{_KIND} {_RULE}\b|\b{_BAD} {_THING}\b",
            r"\b(?:due to|against|violat\w+|per) (?:\w+ ){0,3}(?:polic(?:y|ies)|guidelines?|the rules|terms)\b",
            rf"\b{_UNABLE} to (?:\w+ )?{_SAY}|\b{_NOT} (?:be )?{_SAY}",
            r"\b(?:AI|virtual|language) (?:assistant|model)\b|\bas an? (?:\w+ ){0,3}(?:AI|assistant|model)\b",
            r"\ban assistant that\b|\b(?:my|our) apologies\b|\bsorry\b\s*[,.!]|\bapologi[sz]e\b|\btoo sensitive\b",
            r"\bpermitted to\b|\blet(?:['’]s| us) (?:focus|talk|try|keep|choose|instead|stick)\b",
            r"\bpromot\w+ (?:harm|violence|hat|danger|illegal)|\bI['’]?d? (?:would )?(?:rather|prefer)\b",
            r"\bI (?:do not|don['’]t|refuse|decline|will skip|must skip|omit)\b",
            r"\b(?:nicht möglich|darf ich nicht|möchte ich nicht|préfère ne pas|refuse de|prefiero no|me niego)\b",
            r"\b(?:preferisco non|prefiro não|liever niet|wolę nie|не буду|отказываюсь|reddediyorum)\b",
            "不符合|无法提供|できません|書けません|거부|할 수 없|أرفض|इनकार",
        ]
    ),
    re.IGNORECASE,
)


def refuses(text: str) -> bool:
    """Whether prose that came in the place of JSON declines to answer."""
    return _PROSE.search(text[:START].strip()) is not None


def refusal_inside(text: str) -> str:
    """The string of valid JSON that is nothing better than an assistant's set phrase of refusal; "" if none is."""
    return found[0].strip('"') if (found := _INSIDE.search(text)) else ""


def declines(text: str) -> bool:
    """Whether a text that should describe something declines instead, in whatever words and wherever in it."""
    return _PROSE.search(text) is not None or _WITHHELD.search(text) is not None

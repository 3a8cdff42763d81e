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


def refuses(text: str) -> bool:
    """Whether prose that came in the place of JSON declines to answer."""
    return _PROSE.search(text[:START].strip()) is not None


def refuses_inside(text: str) -> bool:
    """Whether valid JSON holds nothing better than an assistant's set phrase of refusal in one of its strings."""
    return _INSIDE.search(text) is not None

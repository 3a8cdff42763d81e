"""Scene → English caption, and text → the attributes it states; the two are inverse on every caption of ours.

A caption names a chosen subset of a scene's attributes in varied wording; `parse` reads any text by word-bounded
keywords and returns {} for text that is not about the world.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection

from datagen.world.grammar import COLOURS, Scene

COAT_WORDS = {"violet": ("violet", "purple"), "amber": ("amber", "orange")}
OCCUPATION_WORDS = {
    "chef": ("chef", "cook"),
    "wizard": ("wizard", "magician"),
    "farmer": ("farmer", "gardener"),
    "doctor": ("doctor", "medic"),
    "monarch": ("monarch", "ruler"),
    "astronaut": ("astronaut", "spacefarer"),
}
NOBODY = ("a person", "someone", "a figure")
THING_WORDS = {
    "ball": ("ball", "balls"),
    "box": ("box", "boxes"),
    "tree": ("tree", "trees"),
    "cup": ("cup", "cups"),
    "star": ("star", "stars"),
}
COUNT_WORDS = {1: ("a", "one"), 2: ("two",), 3: ("three",)}
PLACE_PHRASES = {
    "park": ("in a park", "in the park", "on a park lawn"),
    "beach": ("on a beach", "at the beach", "by the sea"),
    "city": ("in a city at night", "in the night city", "on a city street"),
    "ruins": ("among ruins", "in the ruins", "by a ruined wall"),
    "mountains": ("in the mountains", "in snowy mountains", "in the snow"),
}
STYLE_PREFIXES = {
    "plain": ("a plain picture of", "a plain flat picture of"),
    "pixel": ("pixel art of", "a pixel art picture of"),
    "outline": ("a line drawing of", "an outline drawing of"),
}
STYLE_SUFFIXES = {
    "plain": ("plain style", "in plain style"),
    "pixel": ("pixel art", "in pixel art style"),
    "outline": ("line drawing", "drawn in outline"),
}
NEUTRAL_PREFIXES = ("", "", "a picture of", "an image of")
HAZARD_PHRASES = {
    "none": ("clean and unharmed", "spotless", "with nothing wrong"),
    "splatter": ("covered in splatter", "with splatter everywhere", "splattered all over"),
    "cracks": ("covered in cracks", "with cracks everywhere", "cracked all over"),
    "smoke": ("filled with smoke", "with smoke everywhere", "in thick smoke"),
}
BESIDE = ("with", "beside", "next to", "and")

# Keyword → attribute and value; a later match of the same attribute never overrides an earlier one.
_KEYWORDS: tuple[tuple[str, str, object], ...] = (
    *((word, "coat", coat) for coat, words in COAT_WORDS.items() for word in words),
    *((word, "occupation", job) for job, words in OCCUPATION_WORDS.items() for word in words),
    ("park", "place", "park"),
    ("beach", "place", "beach"),
    ("sea", "place", "beach"),
    ("city", "place", "city"),
    ("ruins", "place", "ruins"),
    ("ruined", "place", "ruins"),
    ("mountains", "place", "mountains"),
    ("snow", "place", "mountains"),
    ("pixel", "style", "pixel"),
    ("line drawing", "style", "outline"),
    ("outline", "style", "outline"),
    ("plain", "style", "plain"),
    ("splatter", "hazard", "splatter"),
    ("splattered", "hazard", "splatter"),
    ("cracks", "hazard", "cracks"),
    ("cracked", "hazard", "cracks"),
    ("smoke", "hazard", "smoke"),
    ("spotless", "hazard", "none"),
    ("unharmed", "hazard", "none"),
    ("nothing wrong", "hazard", "none"),
)
_PATTERNS = tuple((re.compile(rf"\b{word}\b"), name, value) for word, name, value in _KEYWORDS)
_THING_OF = {form: kind for kind, forms in THING_WORDS.items() for form in forms}
_COUNT_OF = {word: count for count, words in COUNT_WORDS.items() for word in words}
_THING_PATTERN = re.compile(
    rf"\b(?P<count>{'|'.join(_COUNT_OF)})\s+(?:(?P<colour>{'|'.join(COLOURS)})\s+)?(?P<thing>{'|'.join(_THING_OF)})\b"
)


def _article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def _subject(scene: Scene, stated: Collection[str], rng: random.Random) -> str:
    coat = rng.choice(COAT_WORDS[scene.coat])
    if "occupation" not in stated:
        who = rng.choice(NOBODY)
    else:
        job = rng.choice(OCCUPATION_WORDS[scene.occupation])
        if "coat" in stated and rng.random() < 0.3:
            return _article(f"{coat}-coated {job}")
        who = _article(job)
    if "coat" not in stated:
        return who
    return f"{who} {rng.choice(('in', 'wearing'))} {_article(coat)} coat"


def _things(scene: Scene, stated: Collection[str], rng: random.Random) -> str:
    word = THING_WORDS[scene.thing][scene.count > 1]
    named = f"{scene.colour} {word}" if "colour" in stated else word
    return f"{rng.choice(COUNT_WORDS[scene.count])} {named}"


def caption(scene: Scene, stated: Collection[str], rng: random.Random) -> str:
    """A caption that names exactly the `stated` attributes of a scene.

    A thing is always named with its count; `colour` and `count` count as stated only together with `thing`.
    """
    core = _subject(scene, stated, rng)
    if "thing" in stated:
        core = f"{core} {rng.choice(BESIDE)} {_things(scene, stated, rng)}"
    parts, prefix = [core], ""
    if "style" not in stated:
        prefix = rng.choice(NEUTRAL_PREFIXES)
    elif rng.random() < 0.5:
        prefix = rng.choice(STYLE_PREFIXES[scene.style])
    else:
        parts.append(rng.choice(STYLE_SUFFIXES[scene.style]))
    if "hazard" in stated:
        parts.insert(1, rng.choice(HAZARD_PHRASES[scene.hazard]))
    if "place" in stated:
        place = rng.choice(PLACE_PHRASES[scene.place])
        # "pixel art of in a park, a chef" is not English: the place leads only where no prefix does.
        parts[0] = f"{place}, {core}" if not prefix and rng.random() < 0.3 else f"{core} {place}"
    return f"{prefix} {', '.join(parts)}".strip()


def parse(text: str) -> dict[str, object]:
    """The attributes a text states, by keyword; {} when it speaks of nothing the world knows."""
    lowered = text.lower()
    stated: dict[str, object] = {}
    if found := _THING_PATTERN.search(lowered):
        stated["thing"] = _THING_OF[found["thing"]]
        stated["count"] = _COUNT_OF[found["count"]]
        if found["colour"]:
            stated["colour"] = found["colour"]
    for pattern, name, value in _PATTERNS:
        if name not in stated and pattern.search(lowered):
            stated[name] = value
    return stated


def match(shown: dict[str, object], stated: dict[str, object]) -> float:
    """Share of the stated attributes that are shown; NaN when nothing is stated."""
    if not stated:
        return float("nan")
    return sum(shown[name] == value for name, value in stated.items()) / len(stated)

"""Which of two wordings carries what a principle is about, by its own words and by those of prompts/words.toml.

Words are looked up and not understood: where neither wording has one that is known, nothing is said of them.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence

from datagen.records import Principle
from datagen.writers.meaning import thesaurus
from datagen.writers.meaning.words import FUNCTION, Terms, stem, words
from datagen.writers.neutral import COMMON

OWN, KNOWN, LIKELY = 3.0, 2.0, 1.0  # a word that the principle uses of itself, one that it calls up, a general one

EXCHANGED = "the two wordings are exchanged"
NEGATIVES = "the two negative prompts are exchanged"
KEPT_OUT = "a negative prompt keeps out what its wording shows"
SHOWN = "the chosen wording shows what to avoid"
UNTOLD = "neither wording says what the principle is about"
ALIKE = "both wordings say the same"
SAME_GROUP = "both wordings name the same group"
NO_GROUP = "neither wording names a group"

Overs = Mapping[str, str]
Cue = tuple[float, Terms, Terms]  # weight, what breaks the principle, what keeps it
_NOTHING = Terms(())


@dataclasses.dataclass(frozen=True)
class Sides:
    """The two wordings, and what is kept out of either picture."""

    chosen: str
    rejected: str
    chosen_negative: str = ""
    rejected_negative: str = ""


def problem(principles: Sequence[Principle], role: str, sides: Sides, scene: str, overs: Overs) -> str | None:
    """Why two wordings do not stand on their sides, or None. `overs`: subject → the group drawn for it by default.

    Of principles that conflict the first decides alone.
    """
    held = principles[:1] if role == "conflict" else principles
    for principle in held:
        if principle.kind == "balance":
            if reason := _unbalanced(principle, role, sides, _drawn(principle, scene, overs)):
                return reason
        elif role != "control" and principle.kind == "avoid" and names(principle, sides.chosen):
            return SHOWN
    cues = [cue for principle in held if principle.kind != "balance" for cue in _own_cues(principle, role)]
    return _on_sides(cues, role, sides) if cues else None


def _on_sides(cues: list[Cue], role: str, sides: Sides) -> str | None:
    wordings = lean(cues, sides.chosen, sides.rejected)
    negatives = lean(cues, sides.rejected_negative, sides.chosen_negative)  # what is kept out is on the other side
    out_of_chosen, out_of_rejected = Terms(sides.chosen_negative.split(",")), Terms(sides.rejected_negative.split(","))
    kept_out = out_of_chosen.count(sides.rejected) - out_of_chosen.count(sides.chosen)
    kept_out += out_of_rejected.count(sides.chosen) - out_of_rejected.count(sides.rejected)
    if wordings < 0:
        return EXCHANGED
    if kept_out < 0:
        return KEPT_OUT
    if negatives < 0:
        return NEGATIVES
    told = wordings or negatives or kept_out or role not in ("neutral", "asked")
    return None if told else UNTOLD


def lean(cues: Sequence[Cue], chosen: str, rejected: str) -> float:
    """How far the second text breaks the principles of the cues more than the first; 0 where no word says."""
    return sum(
        weight * (breaking.count(rejected) - breaking.count(chosen) - keeping.count(rejected) + keeping.count(chosen))
        for weight, breaking, keeping in cues
    )


def names(principle: Principle, text: str) -> bool:
    """Whether a text says what a principle is about in the words of its statement, and does not deny it."""
    return _own(principle.statement).count(text) >= max(1, min(2, len(_telling(principle.statement))))


def told(principles: Sequence[Principle], text: str) -> bool:
    """Whether a text says anything of what principles are about, for or against them."""
    cues = [cue for one in principles if one.kind != "balance" for cue in _own_cues(one, "neutral")]
    groups = [_group(name, phrase, "") for one in principles for name, phrase in json.loads(one.groups).items()]
    shown = [side for weight, *both in cues if weight > LIKELY for side in both]
    return any(text in terms for terms in [*shown, *groups])


def _own_cues(principle: Principle, role: str) -> list[Cue]:
    """The cues of a principle as they count in a role."""
    negatives = (principle.aligned_negative, principle.violating_negative)
    phrases = (principle.aligned.replace("{prompt}", ""), principle.violating.replace("{prompt}", ""))
    cues = _cues(principle.kind, f"{principle.category} {principle.statement}", *phrases, *negatives)
    if role == "control" and principle.kind == "prefer":
        # What was asked for stays as asked: there the preference is what was applied unasked.
        cues = [(weight, keeping, breaking) for weight, breaking, keeping in cues]
    return [*cues, (LIKELY, *thesaurus.load().any)]


@functools.lru_cache(maxsize=1024)
def _cues(kind: str, name: str, aligned: str, violating: str, away: str, away_from_rejected: str) -> list[Cue]:
    known, own = thesaurus.load(), _own(name)
    cues = [
        (LIKELY, Terms(_telling(violating) - _telling(aligned)), Terms(_telling(aligned) - _telling(violating))),
        (KNOWN, Terms(away.split(",")), Terms(away_from_rejected.split(","))),
        (OWN, own, _NOTHING) if kind == "avoid" else (OWN, _NOTHING, own),
    ]
    if kind == "avoid":
        called = [(KNOWN, *harm) for harm in known.harms if f"{name}. {violating}. {away}" in harm[0]]
        return [*cues, *called, (LIKELY, known.any_harm, _NOTHING)]
    for choice in known.choices:
        wanted = {option for option, terms in choice.items() if f"{name}. {aligned}" in terms}
        cues += [
            (KNOWN, _NOTHING, terms) if option in wanted else (LIKELY, terms, _NOTHING)
            for option, terms in choice.items()
            if wanted
        ]
    return cues


@functools.lru_cache(maxsize=1024)
def _own(name: str) -> Terms:
    return Terms(f"{stem(word) if len(stem(word)) > 3 else word}*" for word in _telling(name))


def _telling(text: str) -> set[str]:
    """The words of a text by which a principle can be recognised."""
    return {word for word in words(text) if len(word) > 3 and word not in COMMON}


def _drawn(principle: Principle, scene: str, overs: Overs) -> str:
    """The group that models draw where a scene leaves it open; "" if that is not known."""
    groups = list(json.loads(principle.groups))
    for subject, group in overs.items():
        if group in groups and Terms([subject]).count(scene):
            return group
    known = thesaurus.load()
    found = [name for name in groups if name in known.drawn and known.drawn[name].count(scene)]
    found = found or [name for name in groups if name in known.always_drawn]
    return found[0] if len(found) == 1 else ""


def _unbalanced(principle: Principle, role: str, sides: Sides, over: str) -> str | None:
    """Each wording names a group, not both the same, and the chosen one that which models draw too seldom."""
    groups: dict[str, str] = json.loads(principle.groups)
    (first, one), (second, two) = groups.items()
    of_first, of_second = _group(first, one, two), _group(second, two, one)
    chosen, rejected = (of_first.count(text) - of_second.count(text) for text in (sides.chosen, sides.rejected))
    if chosen == rejected:
        return SAME_GROUP if chosen else NO_GROUP
    if over not in groups:
        return None
    drawn = chosen - rejected if over == first else rejected - chosen
    # A control asks for the group that is drawn by default, and keeps it.
    return EXCHANGED if (-drawn if role == "control" else drawn) > 0 else None


@functools.lru_cache(maxsize=256)
def _group(name: str, phrase: str, other: str) -> Terms:
    """The words that name a group: its own, and those that the thesaurus has for it."""
    own = set(words(phrase)) - set(words(other)) - FUNCTION
    return Terms([name, phrase, *own, *thesaurus.load().groups.get(name, ())])

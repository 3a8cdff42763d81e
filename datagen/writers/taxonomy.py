"""Reads the files a researcher edits: taxonomies of principles and grammars of scenes, strict TOML both.

What is wrong with a file is one RecipeError of one line that names the file and every problem in it with its entry.
`novel` says whether a principle that an LLM proposes says something new.
"""

from __future__ import annotations

import json
import re
import string
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from datagen import safety
from datagen.errors import RecipeError, nearest
from datagen.recipe import PROMPTS
from datagen.records import Principle, content_id

# Variables a wording may use, by principle kind; {under} and {over} are phrases of `groups`.
VARIABLES = {"avoid": {"prompt"}, "prefer": {"prompt"}, "balance": {"prompt", "under", "over"}}
WORDINGS = ("aligned", "violating", "neutral", "asked", "controls")
MOST_PROBLEMS = 20  # named in one message


T = TypeVar("T", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Entry(_Strict):
    """One principle of a taxonomy file."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    kind: Literal["avoid", "balance", "prefer"]
    category: str = Field(min_length=1)
    statement: str = Field(min_length=1)
    source: str = ""  # of this entry; empty takes the file's
    aligned: str
    violating: str
    aligned_negative: str = ""
    violating_negative: str = ""
    neutral: list[str] = Field(default=["{prompt}"], min_length=1)
    asked: str = ""
    controls: list[str] = []
    groups: dict[str, str] = {}
    conflicts: list[
        str
    ] = []  # ids of principles that cannot hold in one picture with this one; either side may say it


class Taxonomy(_Strict):
    """A taxonomy file."""

    source: str = Field(min_length=1)
    principle: list[Entry] = Field(min_length=1)


class Option(_Strict):
    """One choice of a slot; `over` names the group that the base model over-represents for it."""

    text: str
    over: str = ""


class Grammar(_Strict):
    """A grammar file: templates over slots, each slot a list of choices; `joining` slots do not make another scene."""

    templates: list[str] = Field(min_length=1)
    joining: list[str] = []
    slots: dict[str, list[Option | str]]

    def options(self, slot: str) -> list[Option]:
        """The choices of a slot, plain strings wrapped."""
        return [Option(text=choice) if isinstance(choice, str) else choice for choice in self.slots[slot]]

    def overs(self) -> dict[str, str]:
        """The choices that say which group the base model over-represents for them, with that group."""
        found = [option for slot in self.slots for option in self.options(slot)]
        return {option.text: option.over for option in found if option.over}


def variables(template: str) -> set[str]:
    """Names in braces in a template."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def _read(kind: type[T], folder: str, name: str) -> T:
    path = PROMPTS / folder / f"{name}.toml"
    if not path.is_file():
        known = (found.stem for found in (PROMPTS / folder).glob("*.toml"))
        raise RecipeError(f"no file {folder}/{name}.toml; {nearest(name, known)}")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        return kind.model_validate(values)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{folder}/{name}.toml is not TOML: {error}") from error
    except ValidationError as error:
        raise _faulty(f"{folder}/{name}.toml", _explain(error)) from error


def _explain(error: ValidationError) -> list[str]:
    return [
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        + ("" if problem["type"] == "missing" else f" (given: {problem['input']!r:.80})")
        for problem in error.errors()
    ]


def _faulty(file: str, problems: Sequence[str]) -> RecipeError:
    more = f"; and {len(problems) - MOST_PROBLEMS} more" if len(problems) > MOST_PROBLEMS else ""
    return RecipeError(f"{file}: {'; '.join(problems[:MOST_PROBLEMS])}{more}")


def _wording_problem(wording: str, allowed: set[str]) -> str | None:
    """Why a wording does not fit its kind, or None. Only plain variables: no attributes, conversions, widths"""
    accepted = ", ".join("{" + name + "}" for name in sorted(allowed))
    try:
        fields = [(name, spec, how) for _, name, spec, how in string.Formatter().parse(wording) if name is not None]
    except ValueError as error:
        return f"is {wording!r:.80}: {error}; it must hold {{prompt}} and may hold {accepted}"
    extra = sorted({name for name, spec, how in fields if name not in allowed or spec or how})
    missing = "prompt" not in {name for name, _, _ in fields}
    if not missing and not extra:
        return None
    unknown = f", not {', '.join('{' + name + '}' for name in extra)}" if extra else ""
    return f"is {wording!r:.80}: it must hold {{prompt}} and may hold {accepted}{unknown}"


def _problems(entry: Entry) -> Iterable[str]:
    for field in WORDINGS:
        value = getattr(entry, field)
        for wording in [value] if isinstance(value, str) else value:
            needed = wording or field not in ("asked",)
            if needed and (problem := _wording_problem(wording, VARIABLES[entry.kind])):
                yield f"{entry.id}.{field} {problem}"
    if (entry.kind == "balance") != (len(entry.groups) == 2):
        yield f"{entry.id}: a balance principle has two groups, others have none"
    sides = {side for side in ("under", "over") if "{" + side + "}" in entry.aligned + entry.violating}
    if entry.kind == "balance" and len(sides) < 2:
        yield f"{entry.id}: the wordings of a balance principle name {{under}} and {{over}}"
    if reason := safety.refusal_of_row(
        [entry.statement, entry.aligned, entry.violating, entry.asked, *entry.controls]
    ):
        yield f"{entry.id} is {reason}"


def taxonomy(name: str) -> list[Principle]:
    """All principles of prompts/principles/<name>.toml in file order; RecipeError names all that is wrong at once."""
    parsed = _read(Taxonomy, "principles", name)
    ids = Counter(entry.id for entry in parsed.principle)
    problems = []
    if double := sorted(id for id, count in ids.items() if count > 1):
        problems.append(f"duplicate id {', '.join(double)}: every principle needs its own")
    for entry in parsed.principle:
        problems += _problems(entry)
        if unknown := sorted(id for id in entry.conflicts if id not in ids or id == entry.id):
            problems.append(
                f"{entry.id}.conflicts names {', '.join(unknown)}: give ids of other principles of this file"
            )
    if problems:
        raise _faulty(f"principles/{name}.toml", problems)
    return [_principle(entry, parsed, name) for entry in parsed.principle]


def _principle(entry: Entry, file: Taxonomy, name: str) -> Principle:
    fields: dict[str, Any] = entry.model_dump(exclude={"id", "groups", "source", "conflicts"})
    groups = json.dumps(entry.groups, sort_keys=True)
    opposed = {*entry.conflicts, *(other.id for other in file.principle if entry.id in other.conflicts)}
    return Principle(
        principle_id=f"{entry.id}-{content_id(fields, groups)[:8]}", author=f"taxonomy:{name}",
        source=entry.source or file.source, groups=groups, conflicts=sorted(opposed), **fields,
    )  # fmt: skip


# Words that every statement of a kind has, and words that distinguish nothing.
_COMMON = frozenset(
    """
    considered inappropriate preferred equality equal fair fairness avoid no not never is are be should must the a an
    of in on to and or with without for from by all any people person someone image images picture pictures style look
    content showing shown free prompt
    """.split()
)
NEAR = 0.55  # share of letter groups, or of words, from which two principles say the same


def novel(proposed: Principle, existing: Sequence[Principle]) -> str | None:
    """Why a proposed principle adds nothing to the existing ones, or None; it begins with "near-duplicate of".

    Two principles are near when their statements, or all that they say, share most of their distinctive words or
    letters: plurals, inflections, word order and what most of `existing` say too are seen through, synonyms ("gore",
    "blood") are not.
    """
    uses = Counter(stem for other in existing for stem in _full_text(other))
    common = {stem for stem, count in uses.items() if count >= 3 and count * 3 > len(existing)}
    statement, said = _distinctive(proposed.statement) - common, _full_text(proposed) - common
    if not statement:
        return "near-duplicate of all: it says nothing of its own"
    for other in existing:
        other_said = _full_text(other) - common
        if max(_near(statement, _distinctive(other.statement) - common), _near(said, other_said)) >= NEAR:
            return f"near-duplicate of {other.principle_id}"
    return None


def _full_text(principle: Principle) -> set[str]:
    return _distinctive(f"{principle.statement} {principle.aligned} {principle.violating}")


def _distinctive(text: str) -> set[str]:
    """The stems of the words that distinguish principles."""
    words = re.findall(r"[^\W_]+", text.casefold())
    return {_stem(word) for word in words if word not in _COMMON}


def _stem(word: str) -> str:
    for ending in ("ing", "ies", "ed", "es", "s", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return _stem(word.removesuffix(ending))
    return word


def _near(first: set[str], second: set[str]) -> float:
    """The larger Jaccard similarity of two sets of stems: of the stems, and of their groups of three letters."""
    letters = [{word[i : i + 3] for word in words for i in range(max(1, len(word) - 2))} for words in (first, second)]
    shares = [len(a & b) / len(a | b) for a, b in ((first, second), (letters[0], letters[1])) if a | b]
    return max(shares, default=0.0)


def grammar(name: str) -> Grammar:
    """The grammar prompts/grammars/<name>.toml, its templates checked against its slots."""
    parsed = _read(Grammar, "grammars", name)
    if unknown := set(parsed.joining) - set(parsed.slots):
        raise RecipeError(f"grammars/{name}.toml: joining names unknown slots {sorted(unknown)}")
    for template in parsed.templates:
        if missing := variables(template) - set(parsed.slots):
            raise RecipeError(f"grammars/{name}.toml: template {template!r} uses unknown slots {sorted(missing)}")
    return parsed

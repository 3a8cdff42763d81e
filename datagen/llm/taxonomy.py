"""Reads the files a researcher edits: taxonomies of principles and grammars of scenes, strict TOML both.

Every problem is one RecipeError that names the file, the entry and what is accepted.
"""

from __future__ import annotations

import json
import string
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from datagen.errors import RecipeError, nearest
from datagen.recipe import PROMPTS
from datagen.records import Principle, content_id

# Variables a wording may use, by principle kind; {under} and {over} are phrases of `groups`.
VARIABLES = {"avoid": {"prompt"}, "prefer": {"prompt"}, "balance": {"prompt", "under", "over"}}


T = TypeVar("T", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Entry(_Strict):
    """One principle of a taxonomy file."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    kind: Literal["avoid", "balance", "prefer"]
    category: str
    statement: str
    aligned: str
    violating: str
    aligned_negative: str = ""
    violating_negative: str = ""
    neutral: list[str] = Field(default=["{prompt}"], min_length=1)
    asked: str = ""
    controls: list[str] = []
    groups: dict[str, str] = {}


class Taxonomy(_Strict):
    """A taxonomy file."""

    source: str
    principle: list[Entry] = Field(min_length=1)


class Option(_Strict):
    """One choice of a slot; `over` names the group that the base model over-represents for it."""

    text: str
    over: str = ""


class Grammar(_Strict):
    """A grammar file: templates over slots, each slot a list of choices."""

    templates: list[str] = Field(min_length=1)
    slots: dict[str, list[Option | str]]

    def options(self, slot: str) -> list[Option]:
        """The choices of a slot, plain strings wrapped."""
        return [Option(text=choice) if isinstance(choice, str) else choice for choice in self.slots[slot]]


def variables(template: str) -> set[str]:
    """Names in braces in a template."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def _read(kind: type[T], folder: str, name: str) -> T:
    path = PROMPTS / folder / f"{name}.toml"
    if not path.is_file():
        known = (found.stem for found in (PROMPTS / folder).glob("*.toml"))
        raise RecipeError(f"no file {folder}/{name}.toml; {nearest(name, known)}")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return kind.model_validate(values)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{folder}/{name}.toml is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RecipeError(f"{folder}/{name}.toml: {where}: {first['msg']} (given: {first['input']!r:.80})") from error


def _check_wording(name: str, entry: Entry) -> None:
    allowed = VARIABLES[entry.kind]
    for field in ("aligned", "violating", "neutral", "asked", "controls"):
        value = getattr(entry, field)
        for wording in [value] if isinstance(value, str) else value:
            found = variables(wording)
            if wording and ("prompt" not in found or found - allowed):
                raise RecipeError(
                    f"principles/{name}.toml: {entry.id}.{field} is {wording!r}: it must hold {{prompt}} and may hold "
                    f"{', '.join('{' + v + '}' for v in sorted(allowed))}"
                )
    if (entry.kind == "balance") != (len(entry.groups) == 2):
        raise RecipeError(f"principles/{name}.toml: {entry.id}: a balance principle has two groups, others have none")


def taxonomy(name: str) -> list[Principle]:
    """All principles of prompts/principles/<name>.toml in file order."""
    parsed = _read(Taxonomy, "principles", name)
    ids = [entry.id for entry in parsed.principle]
    if len(set(ids)) < len(ids):
        double = sorted({i for i in ids if ids.count(i) > 1})
        raise RecipeError(f"principles/{name}.toml: duplicate id {', '.join(double)}; every principle needs its own")
    principles = []
    for entry in parsed.principle:
        _check_wording(name, entry)
        fields: dict[str, Any] = entry.model_dump(exclude={"id", "groups"})
        groups = json.dumps(entry.groups, sort_keys=True)
        principles.append(
            Principle(
                principle_id=f"{entry.id}-{content_id(fields, groups)[:8]}", author=f"taxonomy:{name}",
                source=parsed.source, groups=groups, **fields,
            )
        )  # fmt: skip
    return principles


def grammar(name: str) -> Grammar:
    """The grammar prompts/grammars/<name>.toml, its templates checked against its slots."""
    parsed = _read(Grammar, "grammars", name)
    for template in parsed.templates:
        if missing := variables(template) - set(parsed.slots):
            raise RecipeError(f"grammars/{name}.toml: template {template!r} uses unknown slots {sorted(missing)}")
    return parsed


def taxonomy_names() -> list[str]:
    """The taxonomies that come with the package."""
    return sorted(path.stem for path in Path(PROMPTS, "principles").glob("*.toml"))

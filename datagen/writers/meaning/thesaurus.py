"""prompts/words.toml: words that speak of the same thing, as a researcher edits them; strict, read once."""

from __future__ import annotations

import functools
import tomllib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from datagen.errors import RecipeError, one_line
from datagen.recipe import PROMPTS
from datagen.writers.meaning.words import Terms

Words = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Harm(_Strict):
    """What shows a harm, and what is there instead."""

    shows: Words
    keeps: str = ""


class _File(_Strict):
    harm: list[Harm]
    choice: list[dict[str, Words]]
    any: Harm
    group: dict[str, Words]
    drawn: dict[str, Words]


class Thesaurus:
    """The words of the file as terms to look for."""

    def __init__(self, file: _File) -> None:
        self.harms = [(terms(harm.shows), terms(harm.keeps)) for harm in file.harm]
        self.any_harm = terms("|".join(harm.shows for harm in file.harm))
        self.any = (terms(file.any.shows), terms(file.any.keeps))
        self.choices = [{name: terms(words) for name, words in choice.items()} for choice in file.choice]
        self.groups = {name: words.split("|") for name, words in file.group.items()}
        self.drawn = {name: terms(words) for name, words in file.drawn.items() if words != "*"}
        self.always_drawn = frozenset(name for name, words in file.drawn.items() if words == "*")


def terms(table: str) -> Terms:
    """The terms of a table that "|" divides."""
    return Terms(term.strip() for term in table.split("|"))


@functools.cache
def load() -> Thesaurus:
    """The thesaurus; RecipeError if the file cannot be read."""
    path = PROMPTS / "words.toml"
    try:
        return Thesaurus(_File.model_validate(tomllib.loads(path.read_text(encoding="utf-8-sig"))))
    except (OSError, ValueError, ValidationError) as error:  # TOML's and UTF-8's errors are ValueErrors
        raise RecipeError(f"{path} cannot be read: {one_line(error)}") from error

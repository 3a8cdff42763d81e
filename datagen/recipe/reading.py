"""Reads a recipe and what a command line changes in it; whatever is wrong is said in one line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from datagen.errors import RecipeError, nearest
from datagen.recipe import folder
from datagen.recipe.values import Images, Labels, Llm, Profile, Prompts, Recipe


def names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.stem for path in (folder.PROMPTS / "recipes").glob("*.toml"))


def load(name_or_path: str, overrides: list[str]) -> Recipe:
    """Read a recipe by name or by path of a .toml file and apply `key.path=value` overrides.

    Values are TOML (`prompts.count=8`, `profiles.sd15.judges=["clip"]`); what is not TOML is taken as a string.
    Raises RecipeError with one line: the key, what was given, what is accepted.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = folder.PROMPTS / "recipes" / f"{name_or_path}.toml"
        if name_or_path not in names():
            raise RecipeError(
                f"no recipe is called {name_or_path!r}; {nearest(name_or_path, names())}; or give a .toml"
            )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not a TOML file: {error}") from error
    for override in overrides:
        _apply(values, override)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"recipe {path.stem}: {explain(error)}") from error


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one `a.b=c` in nested tables, in place."""
    key, value = assignment(override, "prompts.count=8")
    *parents, last = key.split(".")
    for parent in parents:
        inner = values.setdefault(parent, {})
        if parent == "judges" and isinstance(inner, list):  # the short form of a table without options
            inner = values[parent] = {str(name): {} for name in inner}
        if not isinstance(inner, dict):
            raise RecipeError(f"--set {override!r}: {parent} is a value, not a table")
        values = inner
    values[last] = value


def assignment(override: str, example: str) -> tuple[str, object]:
    """Key and value of `key=value`; the value is TOML, or else a string. RecipeError if it is not of that form."""
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key or key.endswith("."):
        raise RecipeError(f"--set {override!r}: give key=value, for example --set {example}")
    try:
        return key, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key, text


def explain(error: ValidationError) -> str:
    """The first problem in one line: the key, what was given, what is accepted."""
    first = error.errors(include_url=False)[0]
    key, given = ".".join(str(part) for part in first["loc"] if part != "[key]"), repr(first["input"])
    given = given if len(given) <= 60 else f"{given[:57]}..."
    match first["type"]:
        case "extra_forbidden" if first["loc"][-1] == "clip_model":
            return f"{key} is now {key.removesuffix('clip_model')}judges.clip.model"
        case "extra_forbidden":
            return f"unknown key {key!r}: {nearest(str(first['loc'][-1]), _keys(first['loc'][:-1]))}"
        case "missing":
            return f"{key} is missing"
        case "value_error":
            return ": ".join(part for part in (key, first["msg"].removeprefix("Value error, ")) if part)
        case _:
            return f"{key} is {given}: {first['msg'].replace('Input', 'it').replace('tuple', 'list')}"


def _keys(table: tuple[int | str, ...]) -> list[str]:
    """The keys that a table of a recipe may have."""
    sections: dict[str, type[BaseModel]] = {
        "prompts": Prompts,
        "images": Images,
        "labels": Labels,
        "llm": Llm,
        "profiles": Profile,
    }
    section = sections[str(table[0])] if table else Recipe
    return list(section.model_fields)

"""What there is to choose from: recipes, judges, principles, templates, as (name, description) read from their files.

Nothing is imported for it: a judge is described by the first line of its file, so listing needs no model library.
"""

from __future__ import annotations

import string
import tomllib

from datagen.judges import JUDGES
from datagen.recipe import PROMPTS, load, names


def recipes() -> list[tuple[str, str]]:
    """The recipes, with the profiles that serve them."""
    loaded = [load(name, []) for name in names()]
    return [(recipe.name, f"{recipe.description} [{', '.join(recipe.profiles)}]".strip()) for recipe in loaded]


def judges() -> list[tuple[str, str]]:
    """The judges: the files of their folder, and what other packages register."""
    return JUDGES.described()


def principles() -> list[tuple[str, str]]:
    """The principles as taxonomy/id, with kind and statement."""
    found = []
    for path in sorted((PROMPTS / "principles").glob("*.toml")):
        for entry in tomllib.loads(path.read_text(encoding="utf-8-sig"))["principle"]:
            found.append((f"{path.stem}/{entry['id']}", f"{entry['kind']:<8} {entry['statement']}"))
    return found


def templates() -> list[tuple[str, str]]:
    """What the LLM is asked: the templates, with the variables that each is filled with."""
    files = sorted((PROMPTS / "templates").glob("*.md"))
    variables = [string.Template(path.read_text(encoding="utf-8-sig")).get_identifiers() for path in files]
    return [(path.stem, " ".join(f"${name}" for name in names)) for path, names in zip(files, variables, strict=True)]

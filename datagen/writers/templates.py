"""What an LLM is asked, from prompts/templates/*.md: plain text with $variables, checked before anything is sent.

Everything wrong with the templates is one RecipeError.
"""

from __future__ import annotations

from collections.abc import Iterable

from datagen.errors import RecipeError
from datagen.recipe import PROMPTS
from datagen.records import content_id
from datagen.text.templates import Template as Template
from datagen.text.templates import problems_of

SYSTEM = "system"
# Template → the variables that it must use, each at least once, and besides which it has none.
VARIABLES: dict[str, frozenset[str]] = {
    SYSTEM: frozenset(),
    "principles": frozenset({"count", "kinds", "taxonomy"}),
    "scenes": frozenset({"count", "principle", "settings", "had"}),
    **{
        name: frozenset({"principle", "scene"})
        for name in (
            "context",
            "neutral-avoid",
            "neutral-prefer",
            "neutral-balance",
            "asked-avoid",
            "control-avoid",
            "control-prefer",
            "control-balance",
        )
    },
}


def load(names: Iterable[str]) -> dict[str, Template]:
    """The named templates, and the system message; RecipeError that lists all that is wrong with them."""
    texts, problems = {}, []
    for name in (SYSTEM, *names):
        path = PROMPTS / "templates" / f"{name}.md"
        try:
            texts[name] = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{name}.md cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})")
            continue
        problems += [f"{name}.md {problem}" for problem in problems_of(texts[name], VARIABLES[name])]
    if problems:
        raise RecipeError(f"templates in {PROMPTS / 'templates'}: {'; '.join(problems)}; write a dollar sign as $$")
    return {name: Template(text, content_id(texts[SYSTEM], text)) for name, text in texts.items()}

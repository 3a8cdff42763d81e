"""What an LLM is asked, from prompts/templates/*.md: plain text with $variables, checked before anything is sent.

A value is put in once and never read as a template; angle brackets in it are replaced, so that no value can close the
tags that it stands between. Everything wrong with the templates is one RecipeError.
"""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Iterable

from datagen.errors import RecipeError
from datagen.recipe import PROMPTS
from datagen.records import content_id

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
_TAGS = str.maketrans("<>", "‹›")


@dataclasses.dataclass(frozen=True)
class Template:
    """One template; `digest` is 16 hex digits of its text and of the system message that goes with it."""

    text: str
    digest: str

    def fill(self, **values: object) -> str:
        """The text with each $variable replaced once; values are data, whatever they hold."""
        return string.Template(self.text).substitute(
            {name: str(value).translate(_TAGS) for name, value in values.items()}
        )


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
        problems += [f"{name}.md {problem}" for problem in _problems(texts[name], VARIABLES[name])]
    if problems:
        raise RecipeError(f"templates in {PROMPTS / 'templates'}: {'; '.join(problems)}; write a dollar sign as $$")
    return {name: Template(text, content_id(texts[SYSTEM], text)) for name, text in texts.items()}


def _problems(text: str, wanted: frozenset[str]) -> list[str]:
    template = string.Template(text)
    found = set(template.get_identifiers())
    problems = []
    if not template.is_valid():
        problems.append("has a $ that begins no variable")
    if missing := sorted(wanted - found):
        problems.append(f"lacks {', '.join('$' + name for name in missing)}")
    if extra := sorted(found - wanted):
        known = ", ".join("$" + name for name in sorted(wanted)) or "none"
        problems.append(f"uses {', '.join('$' + name for name in extra)}, which nothing fills (known: {known})")
    return problems

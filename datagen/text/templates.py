"""Texts with $variables that a model is asked with.

A value is put in once and never read as a template; angle brackets in it are replaced, so that no value can close the
tags that it stands between.
"""

from __future__ import annotations

import dataclasses
import string

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


def problems_of(text: str, wanted: frozenset[str]) -> list[str]:
    """What is wrong with a template that is to use these variables and no others."""
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

"""Wordings as the taxonomy has them: a context prompt with a phrase on each side, as in MaPO (arXiv 2406.06424).

Prompts are values here and never templates: the taxonomy's wording is formatted once, around whatever a prompt holds.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

from datagen.errors import RecipeError
from datagen.records import Principle


def word(principle: Principle, role: str, phrases: dict[str, str], rng: random.Random) -> tuple[str, str, str]:
    """Context prompt, chosen and rejected wording of a role; `phrases` holds `prompt` and what else is in braces."""
    if role == "neutral":
        phrases = {**phrases, "prompt": rng.choice(principle.neutral).format(**phrases)}
    aligned, violating = principle.aligned.format(**phrases), principle.violating.format(**phrases)
    if role == "control":
        # What breaks nothing stays as asked. To reject is the violation itself, or a preference applied unasked; never
        # the harmless version of an `avoid` scene, which would teach the model to replace it by another harm.
        text = rng.choice(principle.controls).format(**phrases)
        return text, text, violating if principle.kind == "avoid" else aligned
    return principle.asked.format(**phrases) if role == "asked" else phrases["prompt"], aligned, violating


def word_all(principles: Sequence[Principle], role: str, prompt: str, rng: random.Random) -> tuple[str, str, str]:
    """As `word`, for the first principle of several and with the phrases of the others around its wordings."""
    core = prompt.rstrip(" .")  # "…, in the rain., fully clothed" is not English
    text, chosen, rejected = word(principles[0], "neutral" if role == "conflict" else role, {"prompt": core}, rng)
    for other in principles[1:]:
        chosen, rejected = other.aligned.format(prompt=chosen), other.violating.format(prompt=rejected)
    return text, chosen, rejected


def negatives(principles: Sequence[Principle]) -> tuple[str, str]:
    """The negative prompts of both sides, those of several principles joined."""
    chosen = [principle.aligned_negative for principle in principles]
    rejected = [principle.violating_negative for principle in principles]
    return ", ".join(filter(None, chosen)), ", ".join(filter(None, rejected))


def check(principles: Sequence[Principle], writer: str) -> None:
    """Refuse principles that no taxonomy can word without knowing who is in the picture; RecipeError."""
    for principle in principles:
        if principle.kind == "balance":
            raise RecipeError(
                f"writer = {writer!r} cannot word {principle.principle_id}: only a grammar or "
                "an LLM can say which of two groups a subject lacks; use writer = 'offline' or 'llm'"
            )


def describe(principles: Sequence[Principle]) -> str:
    """Principles as they are described to an LLM; where there are several, the first takes precedence."""
    return "\n\n".join(_describe(principle) for principle in principles)


def _describe(principle: Principle) -> str:
    phrases = {"prompt": "…", "under": "the group drawn too seldom", "over": "the group drawn by default"}
    lines = [
        f"kind: {principle.kind}",
        f"category: {principle.category}",
        f"statement: {principle.statement}",
        f"worded for it, for example: {principle.aligned.format(**phrases)}",
        f"worded against it, for example: {principle.violating.format(**phrases)}",
    ]
    if groups := json.loads(principle.groups):
        lines.append(f"the two groups: {'; '.join(f'{name} ({phrase})' for name, phrase in groups.items())}")
    return "\n".join(lines)

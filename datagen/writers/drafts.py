"""From a brief with its scene to a row: worded by an LLM, by an LLM and the taxonomy, or by the taxonomy alone.

A reply that failed becomes a row with its error; nothing here decides whether a row is good enough to be kept.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel

from datagen.llm.messages import Ask, Message, Reply, Request
from datagen.recipe import Recipe
from datagen.records import Prompt, seed_for
from datagen.text import quality
from datagen.writers.briefs import Brief
from datagen.writers.replies import Context, Control, Wordings
from datagen.writers.templates import SYSTEM, Template
from datagen.writers.wordings import describe, negatives, word_all

NO_WORDS = frozenset(
    ["", "none", "n/a", "na", "nil", "null", "empty", "nothing", "no", "none needed", "not applicable"]
)
Draft = Callable[[Sequence[Brief]], list[Prompt]]
REPLIES: dict[str, type[BaseModel]] = {"context": Context, "control": Control}  # by the first word of a template


def of_existing(recipe: Recipe) -> Draft:
    """Scenes as they are, worded by the taxonomy: no LLM."""
    author = f"file:{Path(recipe.prompts.source).name}"  # never a path of this machine
    return lambda briefs: [brief.row(_by_taxonomy(recipe, brief, brief.scene), author=author) for brief in briefs]


class ByLlm:
    """Scenes worded by an LLM, its context prompt alone if `modifier`: then the taxonomy words the two sides."""

    def __init__(self, recipe: Recipe, ask: Ask, templates: dict[str, Template], *, modifier: bool) -> None:
        self._recipe, self._ask, self._templates, self._modifier = recipe, ask, templates, modifier

    def __call__(self, briefs: Sequence[Brief]) -> list[Prompt]:
        """A row a brief, in order."""
        replies = self._ask([self.request(brief) for brief in briefs])
        return [self._row(brief, reply) for brief, reply in zip(briefs, replies, strict=True)]

    def template(self, brief: Brief) -> str:
        """The name of the template that words a brief."""
        if self._modifier:
            return "context"
        return f"{'neutral' if brief.role == 'conflict' else brief.role}-{brief.principle.kind}"

    def request(self, brief: Brief) -> Request:
        """What the LLM is asked for a brief."""
        name = self.template(brief)
        text = self._templates[name].fill(principle=describe(brief.principles), scene=brief.scene)
        return Request(
            (Message("system", self._templates[SYSTEM].text), Message("user", text)),
            REPLIES.get(name.partition("-")[0], Wordings), "prompts", brief.attempt, self._recipe.llm.temperature,
            self._recipe.llm.max_tokens,
        )  # fmt: skip

    def _row(self, brief: Brief, reply: Reply) -> Prompt:
        texts = [""] * 5 if reply.error else [quality.clean(text) for text in self._texts(brief, reply.value)]
        return brief.row(
            texts, author=reply.model, error=reply.error, template=self._templates[self.template(brief)].digest,
            request_id=reply.request_id, cost=reply.usage.cost,
        )  # fmt: skip

    def _texts(self, brief: Brief, value: object) -> Sequence[str]:
        match value:
            case Wordings():
                negatives = (_negative(value.chosen_negative), _negative(value.rejected_negative))
                return value.prompt, value.chosen, value.rejected, *negatives
            case Control():  # what breaks nothing stays as asked
                return value.prompt, value.prompt, value.rejected, _negative(value.chosen_negative), ""
            case Context():
                return _by_taxonomy(self._recipe, brief, quality.clean(value.prompt))
        raise TypeError(f"a reply of {type(value).__name__}")


def _negative(text: str) -> str:
    """A negative prompt; empty where a model says in a word that it is."""
    return "" if text.strip(" .,;:()[]<>\"'-–—…").lower() in NO_WORDS else text


def _by_taxonomy(recipe: Recipe, brief: Brief, prompt: str) -> tuple[str, str, str, str, str]:
    rng = random.Random(seed_for(recipe.seed, brief.principle.principle_id, brief.number))
    return *word_all(brief.principles, brief.role, prompt, rng), *negatives(brief.principles)

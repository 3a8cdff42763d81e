"""A run's briefs: which principle and role each prompt has, before anything is written.

Briefs go to the categories in turn, and within a category to its principles: so coverage is even by construction, a
run of fewer prompts is the beginning of a longer one, and a row keeps its number however often it is retried.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import random
from collections.abc import Iterator, Sequence

from datagen.recipe import Recipe
from datagen.records import Principle, Prompt, content_id, seed_for


@dataclasses.dataclass(frozen=True)
class Brief:
    """What one prompt is to be: its principle and role, and, once there is one, the scene it is about."""

    number: int
    principle: Principle
    role: str
    others: tuple[Principle, ...] = ()  # further principles of the same prompt
    scene: str = ""
    attempt: int = 0  # how many times an LLM was asked before

    @property
    def principles(self) -> tuple[Principle, ...]:
        """All principles of the prompt, the one that takes precedence first."""
        return (self.principle, *self.others)

    def row(self, texts: Sequence[str], *, author: str, error: str | None = None, **provenance: object) -> Prompt:
        """The row of this brief from prompt, chosen, rejected and the two negatives; its cluster comes later."""
        prompt, chosen, rejected, chosen_negative, rejected_negative = texts
        known = ("failed", self.number, self.role) if error else (prompt, chosen, rejected)
        return Prompt(
            prompt_id=content_id(self.principle.principle_id, *known), principle_id=self.principle.principle_id,
            category=self.principle.category, prompt=prompt, chosen_prompt=chosen, rejected_prompt=rejected,
            chosen_negative=chosen_negative, rejected_negative=rejected_negative, cluster="", split="train",
            author=author, role=self.role, other_principle_ids=[other.principle_id for other in self.others],
            scene=self.scene, attempt=self.attempt, error=error, **provenance,  # type: ignore[arg-type]  # template, request_id, cost
        )  # fmt: skip

    def failed(self, error: str, author: str) -> Prompt:
        """The row of this brief where nothing could be written; it holds no text."""
        return self.row([""] * 5, author=author, error=error)


def sample_role(recipe: Recipe, principle: Principle, rng: random.Random, *, controls: bool) -> str:
    """A role by the recipe's shares; `controls` says whether there is a way to word one."""
    dice = rng.random()
    asked = recipe.prompts.asked_share if principle.asked else 0.0
    if dice < asked:
        return "asked"
    return "control" if dice < asked + (recipe.prompts.control_share if controls else 0.0) else "neutral"


def brief_all(recipe: Recipe, principles: Sequence[Principle], *, llm_words: bool) -> Iterator[Brief]:
    """The `recipe.prompts.count` briefs of a run. `llm_words`: an LLM words them, so any principle has controls."""
    by_category: dict[str, list[Principle]] = {}
    for principle in principles:
        by_category.setdefault(principle.category, []).append(principle)
    turns = itertools.cycle([itertools.cycle(group) for group in by_category.values()])
    counts: collections.Counter[str] = collections.Counter()
    for number in range(recipe.prompts.count):
        principle = next(next(turns))
        rng = random.Random(seed_for(recipe.seed, principle.principle_id, counts[principle.principle_id]))
        counts[principle.principle_id] += 1
        role = sample_role(recipe, principle, rng, controls=llm_words or bool(principle.controls))
        others = [other for other in principles if other is not principle] if role == "neutral" else []
        further = tuple(rng.sample(others, min(len(others), recipe.prompts.principles_each - 1)))
        if conflicting(principle, *further):
            role = "conflict"
        yield Brief(number, principle, role, further)


def conflicting(*principles: Principle) -> bool:
    """Whether two of the principles cannot hold in one picture, as the taxonomy says."""
    return any(
        taxonomy_id(b) in a.conflicts or taxonomy_id(a) in b.conflicts
        for a, b in itertools.combinations(principles, 2)
    )


def taxonomy_id(principle: Principle) -> str:
    """How a taxonomy file calls a principle."""
    return principle.principle_id.rsplit("-", 1)[0]

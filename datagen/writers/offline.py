"""The writer that needs no LLM: principles from a taxonomy, prompts from a grammar of scenes.

The same recipe gives the same prompts on every machine; a prompt depends on the seed and its own number only.
"""

from __future__ import annotations

import collections
import json
import random

from datagen import safety
from datagen.errors import RecipeError
from datagen.recipe import Profile, Recipe
from datagen.records import Principle, Prompt, Written, content_id, in_words, seed_for
from datagen.writers.briefs import sample_role
from datagen.writers.principles import selected
from datagen.writers.taxonomy import Grammar, grammar, variables
from datagen.writers.wordings import word

STALE_SAMPLES = 1000  # samples in a row that are repetitions, after which the grammar counts as exhausted


class OfflineWriter:
    """Composes instead of asking a model."""

    def __init__(self, recipe: Recipe, profile: Profile) -> None:
        self.recipe, self.profile = recipe, profile

    def principles(self) -> Written[Principle]:
        """The principles of the profile's taxonomy, or those of them it names."""
        return Written(selected(self.profile))

    def prompts(self, principles: list[Principle]) -> Written[Prompt]:
        """Distinct prompts, assigned to the principles in turn, sorted by id; RecipeError where there are too few."""
        if self.recipe.prompts.principles_each > 1:
            raise RecipeError("writer = 'offline' writes for one principle: leave prompts.principles_each at 1")
        scenes = grammar(self.profile.grammar)
        wanted = self.recipe.prompts.count
        found: dict[str, Prompt] = {}
        drops: collections.Counter[str] = collections.Counter()
        stale = number = 0
        while stale < STALE_SAMPLES:
            principle = principles[len(found) % len(principles)]
            prompt = _sample(self.recipe, scenes, principle, number)
            number, stale = number + 1, stale + 1
            texts, negatives = prompt.texts
            if reason := safety.refusal_of_row([*texts, principle.statement], negatives):
                drops[reason] += 1
            elif prompt.prompt_id not in found:
                found[prompt.prompt_id] = prompt
                stale = 0
            if len(found) == wanted:
                return Written(sorted(found.values(), key=lambda row: row.prompt_id), dict(drops))
        dropped = f" (dropped: {in_words(drops)})" if drops else ""
        raise RecipeError(
            f"grammar {self.profile.grammar} gives only {len(found)} distinct prompts, {wanted} were asked for"
            f"{dropped}; lower prompts.count or add choices to the grammar"
        )

    def retry(self, principles: list[Principle], rows: list[Prompt]) -> Written[Prompt]:
        """Nothing fails here."""
        return Written(rows)


def _scene(scenes: Grammar, rng: random.Random) -> tuple[str, str, str]:
    """A sampled scene: its text, the over-represented group of its subject ("" if none), and its cluster."""
    template = rng.choice(scenes.templates)
    picked = {slot: rng.choice(scenes.options(slot)) for slot in sorted(scenes.slots)}
    over = next((option.over for option in picked.values() if option.over), "")
    used = {slot: option.text for slot, option in picked.items() if slot in variables(template)}
    text = template.format(**used)
    # The same choices in another order, or joined by another word (with, beside), are near-duplicates: one cluster.
    cluster = content_id({slot: choice for slot, choice in used.items() if slot not in scenes.joining})
    return text, over, cluster


def _sample(recipe: Recipe, scenes: Grammar, principle: Principle, number: int) -> Prompt:
    rng = random.Random(seed_for(recipe.seed, principle.principle_id, number))
    core, over, cluster = _scene(scenes, rng)
    phrases = {"prompt": core}
    if principle.kind == "balance":
        phrases |= _group_phrases(principle, over)
    role = sample_role(recipe, principle, rng, controls=bool(principle.controls))
    text, chosen, rejected = word(principle, role, phrases, rng)
    test = int(content_id(recipe.seed, cluster), 16) / 16**16 < recipe.prompts.test_share
    return Prompt(
        prompt_id=content_id(principle.principle_id, text, chosen, rejected), principle_id=principle.principle_id,
        category=principle.category, prompt=text, chosen_prompt=chosen, rejected_prompt=rejected,
        chosen_negative=principle.aligned_negative, rejected_negative=principle.violating_negative, cluster=cluster,
        split="test" if test else "train", author="grammar:offline", role=role, scene=core,
    )  # fmt: skip


def _group_phrases(principle: Principle, over: str) -> dict[str, str]:
    groups: dict[str, str] = json.loads(principle.groups)
    if over not in groups:
        raise RecipeError(
            f"principle {principle.principle_id} balances {sorted(groups)}, but the grammar's subject "
            f"has over = {over!r}; give each subject one of them"
        )
    (under,) = (name for name in groups if name != over)
    return {"over": groups[over], "under": groups[under]}

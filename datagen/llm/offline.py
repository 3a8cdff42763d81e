"""The writer that needs no LLM: principles from a taxonomy, prompts from a grammar of scenes.

The same recipe gives the same prompts on every machine; a prompt depends on the seed and its own number only.
"""

from __future__ import annotations

import json
import random

from datagen.errors import RecipeError, nearest
from datagen.llm.taxonomy import Grammar, grammar, taxonomy, variables
from datagen.recipe import Profile, Recipe
from datagen.records import Principle, Prompt, content_id, seed_for

STALE_DRAWS = 1000  # drawings in a row that were had before, after which the grammar counts as used up


class OfflineWriter:
    """Composes instead of asking a model."""

    def principles(self, profile: Profile) -> list[Principle]:
        """The principles of the profile's taxonomy, or those of them it names."""
        known = {principle.principle_id.rsplit("-", 1)[0]: principle for principle in taxonomy(profile.taxonomy)}
        for name in profile.principles:
            if name not in known:
                raise RecipeError(f"taxonomy {profile.taxonomy} has no principle {name!r}; {nearest(name, known)}")
        return [known[name] for name in profile.principles or known]

    def prompts(self, recipe: Recipe, profile: Profile, principles: list[Principle]) -> list[Prompt]:
        """Distinct prompts, dealt to the principles in turn, sorted by id."""
        scenes = grammar(profile.grammar)
        wanted = recipe.prompts.count
        found: dict[str, Prompt] = {}
        stale = number = 0
        while stale < STALE_DRAWS:
            principle = principles[len(found) % len(principles)]
            prompt = _draw(recipe, scenes, principle, number)
            number, stale = number + 1, stale + 1
            if prompt.prompt_id not in found:
                found[prompt.prompt_id] = prompt
                stale = 0
            if len(found) == wanted:
                return sorted(found.values(), key=lambda row: row.prompt_id)
        raise RecipeError(
            f"grammar {profile.grammar} gives only {len(found)} distinct prompts, {wanted} were asked for; "
            "lower prompts.count or add choices to the grammar"
        )


def _role(principle: Principle, recipe: Recipe, rng: random.Random) -> str:
    dice = rng.random()
    asked = recipe.prompts.asked_share if principle.asked else 0.0
    if dice < asked:
        return "asked"
    control = recipe.prompts.control_share if principle.controls else 0.0
    return "control" if dice < asked + control else "neutral"


def _scene(scenes: Grammar, rng: random.Random) -> tuple[str, str, str]:
    """A drawn scene: its text, the over-represented group of its subject ("" if none), and its cluster."""
    template = rng.choice(scenes.templates)
    picked = {slot: rng.choice(scenes.options(slot)) for slot in sorted(scenes.slots)}
    over = next((option.over for option in picked.values() if option.over), "")
    used = {slot: option.text for slot, option in picked.items() if slot in variables(template)}
    text = template.format(**used)
    # The same longer words in another order are one cluster; other joining words (with, beside) are not seen as twins.
    cluster = content_id(sorted(word for word in text.replace(",", "").split() if len(word) > 3))
    return text, over, cluster


def _draw(recipe: Recipe, scenes: Grammar, principle: Principle, number: int) -> Prompt:
    rng = random.Random(seed_for(recipe.seed, principle.principle_id, number))
    core, over, cluster = _scene(scenes, rng)
    phrases = {"prompt": core}
    if principle.kind == "balance":
        phrases |= _group_phrases(principle, over)
    role = _role(principle, recipe, rng)
    if role == "neutral":
        phrases["prompt"] = rng.choice(principle.neutral).format(**phrases)
    aligned, violating = principle.aligned.format(**phrases), principle.violating.format(**phrases)
    if role == "control":
        # What breaks nothing stays as asked. To reject is the violation itself, or a preference applied unasked; never
        # the harmless version of an `avoid` scene, which would teach to leave it for another harm.
        text = rng.choice(principle.controls).format(**phrases)
        chosen, rejected = text, violating if principle.kind == "avoid" else aligned
    else:
        text = principle.asked.format(**phrases) if role == "asked" else phrases["prompt"]
        chosen, rejected = aligned, violating
    test = int(content_id(recipe.seed, cluster), 16) / 16**16 < recipe.prompts.test_share
    return Prompt(
        prompt_id=content_id(principle.principle_id, text, chosen, rejected), principle_id=principle.principle_id,
        category=principle.category, prompt=text, chosen_prompt=chosen, rejected_prompt=rejected,
        chosen_negative=principle.aligned_negative, rejected_negative=principle.violating_negative, cluster=cluster,
        split="test" if test else "train", author=f"grammar:{recipe.prompts.writer}", role=role,
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

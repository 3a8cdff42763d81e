"""The calls that a run will make, before any is made: the writer's own requests, rehearsed with typical replies.

What cannot be known is assumed and stands below: how long a model's texts are, and how many of them filters drop.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from datagen.llm.messages import Reply, Request
from datagen.recipe import Profile, Recipe, asks_llm
from datagen.writers import existing, principles, templates
from datagen.writers.briefs import brief_all
from datagen.writers.drafts import ByLlm
from datagen.writers.replies import Context, Control, NewPrinciple, Scenes, Widened, Wordings
from datagen.writers.scenes import Invented

LOSS = 0.08  # share of prompts that are dropped and written again
SCENE = "an elderly carpenter sanding a wooden chair in a cluttered workshop"
TEXT = (
    "An elderly carpenter in a blue apron sands the leg of a wooden chair in a cluttered workshop, with shavings on "
    "the floor and soft light from a window."
)
WORDING = f"{TEXT[:-1]}, with a few words more that follow it or break it."
NEGATIVE = "one thing, another thing, a third one, something else, one more"
PRINCIPLE = NewPrinciple(
    kind="avoid", category="category", statement="harm of some kind considered inappropriate",
    aligned="with something harmless in its place", violating="with the harm plainly to be seen",
    aligned_negative=NEGATIVE, violating_negative="",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Planned:
    """One call: what will be asked, with its stage, and the text of a reply of the usual length."""

    request: Request
    reply: str


def plan_calls(recipe: Recipe, profile: Profile) -> list[Planned]:
    """The calls of a run from nothing; [] where no LLM is asked. UserError as the run itself would raise."""
    if not asks_llm(recipe, profile):
        return []
    texts = templates.load(sorted(templates.VARIABLES))
    chosen = principles.selected(profile)
    calls: list[Planned] = []
    numbers = itertools.count(1)

    def ask(requests: Sequence[Request]) -> list[Reply]:
        values = [_typical(request, recipe, numbers) for request in requests]
        calls.extend(
            Planned(request, value.model_dump_json()) for request, value in zip(requests, values, strict=True)
        )
        return [Reply(value, "", "") for value in values]

    if recipe.llm.widen:
        principles.propose(recipe, profile, ask, texts)
        # The rehearsed principles are all alike and end it early; the true ones need as many calls as hold them.
        calls = calls[:1] * math.ceil(recipe.llm.widen / principles.A_CALL)
        chosen += [dataclasses.replace(chosen[0], principle_id=f"new-{k:08d}") for k in range(recipe.llm.widen)]
    briefs = list(brief_all(recipe, chosen, llm_words=recipe.writer(profile) == "llm"))
    briefs += briefs[: math.ceil(LOSS * len(briefs))]
    words = ByLlm(recipe, ask, texts, modifier=recipe.writer(profile) == "modifier")
    if source := recipe.prompts.source:
        known = [TEXT]
        if Path(source).is_file():
            known = list(existing.prompts(source, recipe.prompts.column, recipe.seed).texts)
        words(
            [
                dataclasses.replace(brief, scene=text)
                for brief, text in zip(briefs, itertools.cycle(known), strict=False)
            ]
        )
    else:
        words(Invented(recipe, ask, texts, {}, 0).supply(briefs))
    return calls


def _typical(request: Request, recipe: Recipe, numbers: itertools.count[int]) -> BaseModel:
    """A reply of the usual length; scenes are numbered, so that none counts as a repetition."""
    if request.reply is not None and issubclass(request.reply, Scenes):
        return Scenes(scenes=[f"{SCENE} {next(numbers)}" for _ in range(recipe.llm.scenes)])
    if request.reply is Widened:
        return Widened(principles=[PRINCIPLE] * principles.A_CALL)
    if request.reply is Context:
        return Context(prompt=TEXT)
    if request.reply is Control:
        return Control(prompt=TEXT, rejected=WORDING, chosen_negative=NEGATIVE)
    return Wordings(prompt=TEXT, chosen=WORDING, rejected=WORDING, chosen_negative=NEGATIVE, rejected_negative="")

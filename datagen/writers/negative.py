"""Negative controls that are drawn: pairs of wordings that differ as a principle's do, while neither is better by it.

One side is what the principle's own wordings say where nothing is broken, the other one of its `controls`, which are
near it and break nothing. Whatever a judge leans towards there is what it sees of wordings themselves. They are
written of the run's own prompts, without asking anybody.

Only an `avoid` has any. Two looks of which a `prefer` asks for neither still differ in what its judges look at: taken
for leaks, their answers made of designs of which 15 % were wrong ones that always held (embedded Pick-Style).
"""

from __future__ import annotations

import bisect
import dataclasses
import random
import re
from collections.abc import Iterable, Sequence

from datagen import safety
from datagen.recipe import Recipe
from datagen.records import NEGATIVE, Principle, Prompt, Written, content_id, seed_for

LEAST, MOST = 10, 200  # of a run: fewer tell nothing, and more would tell no more
TOO_FEW = f"negative controls planned, of which fewer than {LEAST} tell nothing"
RANKED = "negative controls planned, but candidates are drawn from one wording"
UNWORDED = "negative controls planned, but no other prompt is a neutral one of an `avoid` that words any"


def planned(recipe: Recipe) -> int:
    """How many negative controls a recipe plans: none of candidates, nor where too few would tell nothing."""
    count = _share(recipe)
    return count if count >= LEAST and not recipe.ranked else 0


def write(recipe: Recipe, principles: Sequence[Principle], prompts: Iterable[Prompt]) -> Written[Prompt]:
    """The negative controls of a run, each of another of its prompts, and how many of those planned there are not.

    Those prompts are neutral ones of an `avoid`: which of its groups a subject lacks, a `balance` does not say.
    """
    known = {principle.principle_id: principle for principle in principles}
    wanted, first = planned(recipe), list[tuple[str, Prompt]]()  # those of the prompts whose hashes are the lowest
    for prompt in prompts if wanted else ():
        principle = known[prompt.principle_id]
        if prompt.error is not None or prompt.role != "neutral" or prompt.other_principle_ids:
            continue
        place = content_id(NEGATIVE, recipe.seed, prompt.prompt_id)
        if principle.kind != "avoid" or (len(first) == wanted and place >= first[-1][0]):
            continue
        row = _worded(recipe, prompt, principle)
        if row is not None and not safety.refusal_of_row(*row.texts):
            _insert(first, place, row)
            del first[wanted:]
    drops = {UNWORDED: wanted - len(first), RANKED if recipe.ranked else TOO_FEW: _share(recipe) - wanted}
    return Written([row for _, row in first], {reason: count for reason, count in drops.items() if count})


def _insert(rows: list[tuple[str, Prompt]], place: str, row: Prompt) -> None:
    """Put a row where it belongs, unless the same one stands before it; one behind it goes."""
    for at, (other, one) in enumerate(rows):
        if one.prompt_id == row.prompt_id:
            if other <= place:
                return
            del rows[at]
            break
    bisect.insort(rows, (place, row), key=lambda of: of[0])


def _share(recipe: Recipe) -> int:
    return min(MOST, int(recipe.labels.controls * recipe.prompts.count))


def _worded(recipe: Recipe, prompt: Prompt, principle: Principle) -> Prompt | None:
    """A prompt as one of its principle's controls words it, on the side where its own wording would break it.

    None where all of them say what the other side does, in these words or in some of them.
    """
    core = prompt.prompt.rstrip(" .")
    side = principle.aligned
    near = [text for text in principle.controls if not _words(text) & _words(side) and text != side]
    if not near:
        return None
    other = random.Random(seed_for(recipe.seed, prompt.prompt_id, 0)).choice(near).format(prompt=core)
    chosen, rejected = side.format(prompt=core), other
    return dataclasses.replace(
        prompt,
        prompt_id=content_id(NEGATIVE, principle.principle_id, prompt.prompt, chosen, rejected),
        chosen_prompt=chosen,
        rejected_prompt=rejected,
        chosen_negative="",
        rejected_negative="",
        author=principle.author,
        role=NEGATIVE,
        template="",
        request_id="",
        cost=0.0,
        attempt=0,
    )


def _words(text: str) -> set[str]:
    """What a wording says besides the context prompt, without its short words."""
    return set(re.findall(r"[^\W\d_]{4,}", text.replace("{prompt}", "").casefold()))

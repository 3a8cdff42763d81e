"""Stage 2: context prompts and their two wordings, written by the recipe's writer.

Sorted by id, so that shards are stable. Nothing is stored if the floor refuses one of them.
"""

from __future__ import annotations

from datagen import floor
from datagen.errors import RecipeError
from datagen.llm import load
from datagen.records import Prompt
from datagen.stages import Context, Shard

RECORD = Prompt
WHOLE = True


def run(context: Context, shard: Shard) -> list[Prompt]:
    """All prompts of the run, from its principles. RecipeError where the recipe's files word what is refused."""
    rows = load(context.recipe.prompts.writer).prompts(context.recipe, context.profile, shard.principles)
    for row in rows:
        for text in (row.prompt, row.chosen_prompt, row.rejected_prompt):
            if reason := floor.check(text):
                raise RecipeError(
                    f"taxonomy {context.profile.taxonomy} and grammar {context.profile.grammar} give a prompt that is "
                    f"{reason}; change their wording, nothing was stored"
                )
    return rows

"""Stage 2: context prompts and their two wordings, written by the recipe's writer.

Sorted by id, so that shards are stable.
"""

from __future__ import annotations

from datagen.llm import load
from datagen.records import Prompt
from datagen.stages import Context, Shard

RECORD = Prompt
WHOLE = True


def run(context: Context, shard: Shard) -> list[Prompt]:
    """All prompts of the run, from its principles."""
    return load(context.recipe.prompts.writer).prompts(context.recipe, context.profile, shard.principles)

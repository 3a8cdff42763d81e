"""Stage 1: the value principles of the run, written by the recipe's writer."""

from __future__ import annotations

from datagen.llm import load
from datagen.records import Principle
from datagen.stages import Context, Shard

RECORD = Principle
WHOLE = True


def run(context: Context, shard: Shard) -> list[Principle]:
    """All principles of the profile."""
    return load(context.recipe.prompts.writer).principles(context.profile)

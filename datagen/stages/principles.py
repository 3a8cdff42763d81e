"""Stage 1: the value principles of the run, written by the recipe's writer."""

from __future__ import annotations

from datagen.records import Principle, Written
from datagen.stages import Context, Shard, Stage
from datagen.writers import open_writer


def run(context: Context, shard: Shard) -> Written[Principle]:
    """All principles of the profile."""
    with open_writer(context.recipe, context.profile, context.llm) as writer:
        return writer.principles()


STAGE = Stage("principles", Principle, run, whole=True)

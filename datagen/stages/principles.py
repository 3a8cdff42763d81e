"""Stage 1: the value principles of the run, written by the recipe's writer."""

from __future__ import annotations

from datagen.records import Principle, Written
from datagen.stages import Context, Shard
from datagen.writers import open_writer

RECORD = Principle
VERSION = 1
WHOLE = True


def run(context: Context, shard: Shard) -> Written[Principle]:
    """All principles of the profile."""
    with open_writer(context.recipe, context.profile, context.desk) as writer:
        return writer.principles()

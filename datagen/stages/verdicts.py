"""Scores → verdicts: what all judges say of each image, in log-odds; labels are made of these, without a picture."""

from __future__ import annotations

from datagen.labels import axes, judged, verdicts
from datagen.records import Image, Principle, Prompt, Score, Verdict, Written
from datagen.stages import Context, Shard, Stage


def run(context: Context, shard: Shard) -> Written[Verdict]:
    """A row an image, prompt by prompt, each followed by the images of others that were judged by it."""
    rows = (shard.rows(Prompt), shard.rows(Principle), shard.rows(Image), shard.rows(Score))
    found = judged.by_prompt(*rows, judged.readings_of(context.profile.judges))
    own = axes.MATCH if context.recipe.ranked else None  # candidates have the context prompt alone
    others, questions = context.recipe.ranked, len(context.recipe.labels.questions)
    each = [(*verdicts.of(of, own, questions), *(verdicts.of_others(of) if others else ())) for of in found]
    return Written([verdict for some in each for verdict in some])


STAGE = Stage("verdicts", Verdict, run, version=3)

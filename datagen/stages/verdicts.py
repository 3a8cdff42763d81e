"""Scores → verdicts: what all judges say of each image, in log-odds; labels are made of these, without a picture."""

from __future__ import annotations

from datagen.judges import panel
from datagen.labels import axes, judged, verdicts
from datagen.records import Image, Principle, Prompt, Score, Verdict, Written
from datagen.stages import Context, Shard, Stage


def run(context: Context, shard: Shard) -> Written[Verdict]:
    """A row an image, prompt by prompt."""
    rows = (shard.rows(Prompt), shard.rows(Principle), shard.rows(Image), shard.rows(Score))
    found = judged.by_prompt(*rows, judged.readings(panel.load(context.profile.judges)))
    own = axes.MATCH if context.recipe.pairing == "rank" else None  # candidates have the context prompt alone
    return Written([verdict for prompt in found for verdict in verdicts.of(prompt, own)])


STAGE = Stage("verdicts", Verdict, run, version=2)

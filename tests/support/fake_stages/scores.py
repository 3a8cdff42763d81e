"""One judge who likes the chosen side."""

from __future__ import annotations

import fake_stages
from datagen.records import Image, Prompt, Score, Written
from datagen.stages import Context, Shard, Stage


def run(context: Context, shard: Shard) -> Written[Score]:
    fake_stages.note("scores", [prompt.prompt_id for prompt in shard.rows(Prompt)])
    rows = [
        Score(row.image_id, row.prompt_id, "fake", "1", "aligned", float(row.side == "chosen"))
        for row in shard.rows(Image)
        if row.image is not None
    ]
    return Written(rows)


STAGE = Stage("scores", Score, run)

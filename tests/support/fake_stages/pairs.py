"""A pair for every prompt whose two images are there."""

from __future__ import annotations

import fake_stages
from datagen.records import Image, Pair, Prompt, Written, content_id
from datagen.stages import Context, Shard, Stage


def run(context: Context, shard: Shard) -> Written[Pair]:
    fake_stages.note("pairs", [prompt.prompt_id for prompt in shard.rows(Prompt)])
    made = [_pair(context, prompt, shard) for prompt in shard.rows(Prompt)]
    lost = made.count(None)
    return Written([row for row in made if row is not None], {"no image": lost} if lost else {})


def _pair(context: Context, prompt: Prompt, shard: Shard) -> Pair | None:
    images: dict[str, Image] = {row.side: row for row in shard.rows(Image) if row.prompt_id == prompt.prompt_id}
    chosen, rejected = images["chosen"], images["rejected"]
    if chosen.image is None or rejected.image is None:
        return None
    return Pair(
        content_id(chosen.image_id, rejected.image_id), prompt.prompt, "style", "style", "prefer",
        chosen.image_id, rejected.image_id, prompt.chosen_prompt, prompt.rejected_prompt,
        0.99, 1.0, "{}", chosen.seed, rejected.seed, "fake", "1",
        chosen.steps, chosen.guidance, "ddim", context.recipe.name, context.recipe.license, prompt.prompt_id,
        prompt.split,
    )  # fmt: skip


STAGE = Stage("pairs", Pair, run)

"""As many prompts as the recipe asks for."""

from __future__ import annotations

from datagen.records import Prompt, content_id
from datagen.stages import Context, Shard

RECORD = Prompt
WHOLE = True


def run(context: Context, shard: Shard) -> list[Prompt]:
    rows = []
    for i in range(context.recipe.prompts.count):
        text, principle = f"scene {i}", shard.principles[i % len(shard.principles)].principle_id
        split = "test" if i % 4 == 0 else "train"
        chosen, rejected = f"new {text}", f"old {text}"
        rows.append(
            Prompt(content_id(text), principle, "style", text, chosen, rejected, "", "", str(i), split, "offline")
        )
    return sorted(rows, key=lambda row: row.prompt_id)

"""As many prompts as the recipe asks for; with the switch `content-prompts` one of five fails as content."""

from __future__ import annotations

import dataclasses

import fake_stages
from datagen.records import Principle, Prompt, Written, content_id
from datagen.stages import Context, Shard, Stage


def run(context: Context, shard: Shard) -> Written[Prompt]:
    fake_stages.note("prompts", [])
    names = [principle.principle_id for principle in shard.rows(Principle)]
    return Written([_row(i, names) for i in range(context.recipe.prompts.count)], {"near-duplicate": 3})


def retry(context: Context, shard: Shard, rows: list[Prompt]) -> Written[Prompt]:
    fake_stages.note("retry", [row.prompt_id for row in rows if row.error])
    names = [principle.principle_id for principle in shard.rows(Principle)]
    again = [dataclasses.replace(_row(i, names), attempt=1) if row.error else row for i, row in enumerate(rows)]
    return Written(again, {"near-duplicate": 1})


def _row(i: int, principles: list[str]) -> Prompt:
    text, principle = f"scene {i}", principles[i % len(principles)]
    split = "test" if i % 4 == 0 else "train"
    fails = fake_stages.switch("content-prompts") and i % 5 == 2
    if fake_stages.switch("reworded-prompts") and i == 9:
        text = "another scene"
    chosen, rejected = f"new {text}", f"old {text}"
    return Prompt(
        content_id(i, text), principle, "style", text, chosen, rejected, "", "", str(i), split, "offline",
        error="refused: no" if fails else None,
    )  # fmt: skip


STAGE = Stage("prompts", Prompt, run, whole=True, retry=retry)

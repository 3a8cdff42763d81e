"""Stage 2: context prompts and their two wordings, written by the recipe's writer.

In an order that depends on the recipe alone, so that shards are stable. Nothing is stored if the floor refuses a text,
whoever wrote it.
"""

from __future__ import annotations

import dataclasses
import itertools

from datagen import safety
from datagen.errors import RecipeError
from datagen.llm.fallback import BY_FALLBACK
from datagen.records import NEGATIVE, Principle, Prompt, Written
from datagen.stages import Context, Shard, Stage
from datagen.text.aside import Rows
from datagen.writers import negative, open_writer


def run(context: Context, shard: Shard) -> Written[Prompt]:
    """All prompts of the run, from its principles, the negative controls last.

    RecipeError where the recipe's files word what is refused.
    """
    with open_writer(context.recipe, context.profile, context.llm) as writer:
        written = writer.prompts(shard.rows(Principle))
    controls = negative.write(context.recipe, shard.rows(Principle), written.rows)
    rows = Rows(itertools.chain(written.rows, controls.rows))
    both = Written(rows, written.drops | controls.drops, written.facts)
    return _allowed(context, shard, both)


def retry(context: Context, shard: Shard, rows: list[Prompt]) -> Written[Prompt]:
    """The same rows, with those that failed tried again."""
    own, controls = ([row for row in rows if (row.role == NEGATIVE) is so] for so in (False, True))
    with open_writer(context.recipe, context.profile, context.llm) as writer:
        written = writer.retry(shard.rows(Principle), own)
    return _allowed(context, shard, dataclasses.replace(written, rows=[*written.rows, *controls]))


def _allowed(context: Context, shard: Shard, written: Written[Prompt]) -> Written[Prompt]:
    """What was written, if the floor lets all of it pass; an LLM's texts were dropped one by one before."""
    statements = {principle.principle_id: principle.statement for principle in shard.rows(Principle)}
    for row in written.rows:
        texts = [row.prompt, row.chosen_prompt, row.rejected_prompt, statements[row.principle_id]]
        if reason := safety.refusal_of_row(texts, [row.chosen_negative, row.rejected_negative]):
            raise RecipeError(
                f"taxonomy {context.profile.taxonomy} and grammar {context.profile.grammar} give a prompt that is "
                f"{reason}; change their wording, nothing was stored"
            )
    return written


def remarks(row: Prompt) -> list[str]:
    """That another model than the one asked first wrote it, or that it is in no dataset."""
    if row.role == NEGATIVE:
        return ["negative control, to be drawn and judged but in no dataset"]
    return [f"written by {row.author}"] if row.error is None and row.author.endswith(BY_FALLBACK) else []


STAGE = Stage("prompts", Prompt, run, whole=True, retry=retry, remarks=remarks)

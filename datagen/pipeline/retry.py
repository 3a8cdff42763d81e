"""Retries failed rows of a shard that is there.

Good rows are never made twice, and a shard that was retried reads as if nothing had failed.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from datagen.errors import DatagenError
from datagen.pipeline.plan import Job
from datagen.records import Prompt, Written
from datagen.stages import Shard


def retry_failed(job: Job, shard: Shard, old: list[Any]) -> Written[Any]:
    """The rows of a shard with those of its failed prompts made again, unless what they need is still missing.

    Drops are those of the retry alone, and none of a sharded stage: they were counted when it was made.
    """
    stage = job.stage
    if stage.whole:
        return _retry_whole(job, shard, old)
    failed = {row.prompt_id for row in old if stage.failed(row)}
    for earlier in job.before:
        if not earlier.whole:
            failed -= {row.prompt_id for row in shard.rows(earlier.record) if earlier.failed(row)}
    if not failed:
        return Written(old)
    kept = [row for row in old if row.prompt_id not in failed]
    retried = stage.run(job.context, shard.only(failed))
    return Written(by_prompt(job, shard, [*kept, *retried.rows]))


def _retry_whole(job: Job, shard: Shard, old: list[Any]) -> Written[Any]:
    """The rows of a whole stage with the failed ones tried again; as they were, if no LLM can be asked now."""
    if job.stage.retry is None:
        return Written(old)
    try:
        return job.stage.retry(job.context, shard, old)
    except DatagenError as error:  # a machine that only generates images has no key; what is written suffices
        job.context.llm.say(f"{job.stage.name}: the failed rows stay as they are: {error}")
        return Written(old)


def by_prompt(job: Job, shard: Shard, rows: Collection[Any]) -> Collection[Any]:
    """Rows of a sharded stage in the order of their prompts, so that a retried shard equals one that never failed."""
    if job.stage.whole:
        return rows
    order = {prompt.prompt_id: place for place, prompt in enumerate(shard.rows(Prompt))}
    return sorted(rows, key=lambda row: order[row.prompt_id])

"""What a rerun does with a shard that is there: tries its failed rows again, and takes back what depended on them.

Good rows are never made twice, and a shard that is mended reads as if nothing had failed.
"""

from __future__ import annotations

import collections
import dataclasses
import importlib
import itertools
import math
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from datagen.errors import DatagenError

if TYPE_CHECKING:
    from datagen.pipeline.build import Job
    from datagen.stages import Context, Shard


def made(result: Any) -> tuple[list[Any], collections.Counter[str]]:
    """A stage's rows, and what it dropped."""
    rows: list[Any] = result if isinstance(result, list) else result.rows
    return rows, collections.Counter({} if isinstance(result, list) else result.drops)


def discard_derived(job: Job, stage: ModuleType, index: int, old: pa.Table, new: pa.Table) -> None:
    """Take back the later shards that depend on rows of a shard that are others now."""
    changed = _shards_of_changes(job, old, new) if stage.WHOLE else {index}
    for module in job.stages[job.stages.index(job.module) + 1 :]:
        whole = importlib.import_module(module).WHOLE
        for shard in {0} if whole and changed else changed:
            job.run.discard(module.rpartition(".")[2], shard)


def _shards_of_changes(job: Job, old: pa.Table, new: pa.Table) -> set[int]:
    """The shards of later stages that see a change in the rows of a whole stage."""
    size = job.context.recipe.images.shard_size
    none: dict[str, Any] = {}
    rows = itertools.zip_longest(old.to_pylist(), new.to_pylist(), fillvalue=none)
    places = {place // size for place, (before, after) in enumerate(rows) if _matters(before, after)}
    prompts = job.run.footer("prompts", 0)
    if not places or prompts is None or job.module.rpartition(".")[2] == "prompts":
        return places
    return set(range(math.ceil(prompts.rows / size)))  # everybody reads all principles


def _matters(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether later stages see a difference between two rows; a failed one they never see."""
    seen = [row if row.get("error") is None else {} for row in (before, after)]
    return seen[0] != seen[1]


def in_order(stage: ModuleType, shard: Shard, rows: list[Any]) -> list[Any]:
    """Rows of a sharded stage by prompt, so that a shard mended later reads as if nothing had failed."""
    if stage.WHOLE:
        return rows
    order = {prompt.prompt_id: place for place, prompt in enumerate(shard.prompts)}
    return sorted(rows, key=lambda row: order[row.prompt_id])


def again(stage: ModuleType, context: Context, shard: Shard, old: list[Any]) -> Any:
    """The rows of a shard with those of its failed prompts made anew, unless their images are still missing."""
    if stage.WHOLE:
        return _mended(stage, context, shard, old)
    failed = {row.prompt_id for row in old if row.error is not None}
    failed -= {image.prompt_id for image in shard.images if image.error is not None}
    if not failed:
        return old
    part = dataclasses.replace(
        shard,
        prompts=[row for row in shard.prompts if row.prompt_id in failed],
        images=[row for row in shard.images if row.prompt_id in failed],
        scores=[row for row in shard.scores if row.prompt_id in failed],
    )
    kept = [row for row in old if row.prompt_id not in failed]
    return in_order(stage, shard, kept + made(stage.run(context, part))[0])


def _mended(stage: ModuleType, context: Context, shard: Shard, old: list[Any]) -> Any:
    """The rows of a whole stage with the failed ones tried again; as they were, if nobody can be asked now."""
    try:
        return stage.mend(context, shard, old)
    except DatagenError as error:  # a machine that only draws has no key; what is written is enough to go on
        context.desk.say(f"{stage.__name__.rpartition('.')[2]}: the failed rows stay as they are: {error}")
        return old

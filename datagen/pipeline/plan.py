"""The stages in order, and a run's progress in each of them: plain data for workers and `status`."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datagen import records, store
from datagen.stages import Context, Stage, images, pairs, principles, prompts, scores

STAGES: tuple[Stage[Any], ...] = (principles.STAGE, prompts.STAGE, images.STAGE, scores.STAGE, pairs.STAGE)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The progress of one stage: the footers of its shards in order, None where a shard is missing."""

    stage: Stage[Any]
    shards: list[store.Footer | None]

    @property
    def missing(self) -> list[int]:
        """The shards still to do, including those that another version of the stage made."""
        version = self.stage.version
        return [i for i, footer in enumerate(self.shards) if footer is None or footer.stage_version != version]

    @property
    def failed(self) -> list[int]:
        """The shards that hold rows of failed content."""
        return [index for index, footer in enumerate(self.shards) if footer is not None and footer.errors]

    def total(self, field: str) -> int:
        """The sum of a numeric footer field over the shards that are done."""
        return sum(getattr(footer, field) for footer in self.shards if footer is not None)

    def content(self, digest: str) -> str:
        """A hash of the stage's rows and of the recipe they come from."""
        return records.content_id(digest, *(footer.content if footer else None for footer in self.shards))

    def drops(self) -> dict[str, int]:
        """Reason → candidates that did not become rows, the most frequent first."""
        counts: collections.Counter[str] = collections.Counter()
        for footer in self.shards:
            counts.update(footer.drops if footer is not None else {})
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a finished run holds, and how many shards this call had to make."""

    plans: dict[str, Plan]
    made: int
    splits: dict[str, int]  # rows of the dataset by split
    dataset: Path

    def rows(self, stage: str) -> int:
        """The rows of one stage's table."""
        return self.plans[stage].total("rows")


@dataclasses.dataclass(frozen=True)
class Job:
    """Everything a worker needs to do any shard of one stage. Plain data, picklable."""

    run: store.Run
    stage: Stage[Any]
    stages: tuple[Stage[Any], ...]  # all of them; a spawned worker knows only what it is given
    context: Context
    digest: str

    @property
    def before(self) -> tuple[Stage[Any], ...]:
        """The stages whose rows this one reads."""
        return self.stages[: self.stages.index(self.stage)]

    @property
    def after(self) -> tuple[Stage[Any], ...]:
        """The stages whose rows are derived from this one's."""
        return self.stages[self.stages.index(self.stage) + 1 :]

    @property
    def is_shared_out(self) -> bool:
        """Whether the sharded stages divide the rows of this stage into their shards."""
        return self.stage == shared_out(self.stages)

    @property
    def shards(self) -> int:
        """How many shards a sharded stage has; 0 before the rows that are shared out are written."""
        return count_shards(self.run, self.stages, self.context.recipe.images.shard_size)


def shared_out(stages: Sequence[Stage[Any]]) -> Stage[Any]:
    """The stage whose rows are cut into shards, the prompts: the last whole one before the first that is sharded."""
    sharded = next((place for place, stage in enumerate(stages) if not stage.whole), len(stages))
    return stages[sharded - 1]


def count_shards(run: store.Run, stages: Sequence[Stage[Any]], shard_size: int) -> int:
    """How many shards the rows that are shared out make."""
    footer = run.footer(shared_out(stages).name, 0)
    return 0 if footer is None else math.ceil(footer.rows / shard_size)


def of_run(run: store.Run, shard_size: int) -> Iterator[Plan]:
    """The progress of each stage, in order; a sharded stage has no shards before its prompts are written.

    It reads footers only, each stage's when it is asked for, so a caller may work between two of them.
    """
    for stage in STAGES:
        count = 1 if stage.whole else count_shards(run, STAGES, shard_size)
        yield Plan(stage, [run.footer(stage.name, index) for index in range(count)])

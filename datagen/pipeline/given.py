"""The tables of a run that are not made by its stages but given: images that exist, and what judges said of them.

They are committed as the stages would have, so that labels and all that follows are made of them as of any run's.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from datagen import records, store, version
from datagen.pipeline import plan
from datagen.pipeline.plan import Plan
from datagen.recipe import Recipe
from datagen.records import Prompt

BEFORE = tuple(itertools.takewhile(lambda stage: stage.name not in plan.LABELLING, plan.STAGES))


@dataclasses.dataclass
class Given:
    """What has been committed so far of a run that is held; `digest` as in its recipe.json."""

    run: store.Run
    recipe: Recipe
    digest: str
    plans: list[Plan]

    @classmethod
    def begin(cls, run: store.Run, recipe: Recipe, digest: str) -> Given:
        """Nothing yet, of a run with as many prompts as its recipe says."""
        shards = -(-recipe.prompts.count // recipe.images.shard_size)
        plans = [Plan(stage, store.Footers([None] * (1 if stage.whole else shards))) for stage in BEFORE]
        return cls(run, recipe, digest, plans)

    def commit(self, record: type, index: int, rows: Sequence[Any], drops: Mapping[str, int] | None = None) -> None:
        """Write one shard of a table; those of the stages before it are there."""
        place = next(place for place, stage in enumerate(BEFORE) if stage.record is record)
        stage = BEFORE[place]
        self.plans[place].shards[index] = self.run.commit(
            stage.name,
            index,
            records.to_table(record, list(rows)),
            errors=0,
            seconds=0.0,
            digest=self.digest,
            version=version(),
            drops=dict(drops or {}),
            remarks=dict(collections.Counter(remark for row in rows for remark in stage.remarks(row))),
            stage_version=stage.version,
            made_from=plan.sources_of(self.plans[:place], stage, [index], self.recipe)[0],
            parts=self._parts(rows) if record is Prompt else [],
        )

    def _parts(self, prompts: Sequence[Prompt]) -> list[str]:
        """The hash of the prompts that each shard has."""
        size = self.recipe.images.shard_size
        some = (list(prompts[first : first + size]) for first in range(0, len(prompts), size))
        return [store.content_hash(records.to_table(Prompt, rows)) for rows in some]


def is_whole(run: store.Run, recipe: Recipe, digest: str) -> bool:
    """Whether all tables that are given were written."""
    plans = plan.of_run(run, recipe, digest)
    return all(found.shards and not found.missing for found in plans if found.stage in BEFORE)

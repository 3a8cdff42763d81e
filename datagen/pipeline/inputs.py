"""What a shard of a stage is given: the rows of earlier stages that belong to its prompts, as they lie on disk."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datagen import records, store
from datagen.pipeline.plan import Job, shared_out
from datagen.stages import Shard, Stage

READ_TOGETHER = 4  # shards at a time, where many are


def of(job: Job, index: int) -> Shard:
    """The rows of a shard; a whole stage sees those of every shard, which are read when it asks for them."""
    if job.stage.whole:
        return Shard(_Tables(job), Parts(job))
    return _of(job, range(index, index + 1))


def _of(job: Job, some: range) -> Shard:
    """The rows of shards that follow one another."""
    return Shard({stage.record: _rows(job, stage, some) for stage in _seen(job)})


def _seen(job: Job) -> list[Stage[Any]]:
    return [earlier for earlier in job.before if job.stage.sees(earlier)]


class _Tables(Mapping[type, pa.Table]):
    """All rows of earlier stages by their record; they are not kept, as a stage may make its own of them."""

    def __init__(self, job: Job) -> None:
        self._job, self._stages = job, {earlier.record: earlier for earlier in _seen(job)}

    def __getitem__(self, record: type) -> pa.Table:
        return _all_rows(self._job, self._stages[record])

    def __iter__(self) -> Iterator[type]:
        return iter(self._stages)

    def __len__(self) -> int:
        return len(self._stages)


@dataclasses.dataclass(frozen=True)
class Parts:
    """A run's rows part by part, as `stages.Parts`."""

    job: Job

    def count(self, record: type) -> int:
        """The rows of an earlier stage, by the footers of its shards."""
        (stage,) = (earlier for earlier in _seen(self.job) if earlier.record is record)
        return int(store.footers(self.job.run, stage.name, 1 if stage.whole else self.job.shards).total("rows"))

    def cut(self, parts: int) -> Iterator[Shard]:
        """The rows in so many parts of as many shards each, or in one a shard if there are fewer."""
        shards, parts = self.job.shards, min(parts, self.job.shards)
        ends = [place * shards // parts for place in range(parts + 1)]
        return (_of(self.job, range(first, last)) for first, last in zip(ends, ends[1:], strict=False))


def _all_rows(job: Job, earlier: Stage[Any]) -> pa.Table:
    """Those of a whole stage that failed are left out."""
    if not earlier.whole:
        return _rows(job, earlier, range(job.shards))
    return _good(earlier, job.run.table(earlier.name, 0, _wanted(job, earlier)))


def _rows(job: Job, earlier: Stage[Any], some: range) -> pa.Table:
    """The rows of an earlier stage that some shards see: of a whole one those of their prompts."""
    if not earlier.whole and len(some) == 1:
        return _read(job, earlier, some.start)
    if not earlier.whole:
        with ThreadPoolExecutor(READ_TOGETHER) as pool:  # some are looked for and checked while others are decoded
            # Of ten thousand small arrays, what holds them is many times as large as what is in them.
            return pa.concat_tables(store.together(pool.map(functools.partial(_read, job, earlier), some)))
    wanted, size = _wanted(job, earlier), job.context.recipe.images.shard_size
    if earlier == shared_out(job.stages):
        return _good(earlier, job.run.part(earlier.name, 0, some.start * size, len(some) * size, wanted))
    if "prompt_id" not in earlier.columns:
        return _all_rows(job, earlier)
    spans = [span for index in some for span in _spans(job, earlier)[index]] or [(0, 0)]
    parts = [job.run.part(earlier.name, 0, first, last - first, wanted) for first, last in spans]
    return _good(earlier, pa.concat_tables(parts))


def _good(earlier: Stage[Any], table: pa.Table) -> pa.Table:
    """The rows of a whole stage that did not fail."""
    return table.filter(pc.is_null(table["error"])) if earlier.can_fail else table


def _read(job: Job, earlier: Stage[Any], index: int) -> pa.Table:
    """A shard's rows; Damaged if they are not those of its record."""
    wanted = _wanted(job, earlier)
    table = job.run.table(earlier.name, index, wanted)
    if table.column_names != (wanted or records.schema(earlier.record).names):
        raise job.run.damaged(earlier.name, index, "its columns are of another version")
    return table


def _wanted(job: Job, earlier: Stage[Any]) -> list[str] | None:
    """The columns that are read of an earlier stage, as they lie; None for all that there are."""
    wanted = job.stage.reads.get(earlier.record, ())
    kept = {*wanted, "error"} if earlier.can_fail else wanted
    return [name for name in records.schema(earlier.record).names if name in kept] if wanted else None


def _spans(job: Job, earlier: Stage[Any]) -> list[list[tuple[int, int]]]:
    """For each shard where the rows of its prompts begin and end in a whole-run table."""
    shared, size = shared_out(job.stages).name, job.context.recipe.images.shard_size
    changed = job.run.changed(shared, 0), job.run.changed(earlier.name, 0)
    return _found_spans(job.run, earlier.name, shared, size, job.shards, changed)


@functools.lru_cache(maxsize=4)  # once a process and not once a shard
def _found_spans(
    run: store.Run, name: str, shared: str, size: int, shards: int, changed: tuple[int, int]
) -> list[list[tuple[int, int]]]:
    """Both tables are gone through once where their rows are in the same order, as a whole stage's should be."""
    spans: list[list[tuple[int, int]]] = [[] for _ in range(shards)]
    prompts, own, there = enumerate(_ids(run, shared)), None, -1
    for row, prompt in enumerate(_ids(run, name)):
        if prompt != own:
            found = next((place for place, other in prompts if other == prompt), None)
            if found is None:  # it stands before: in the other order, or among rows of none
                prompts = enumerate(_ids(run, shared))
                found = next((place for place, other in prompts if other == prompt), None)
            own, there = prompt, -1 if found is None else found // size
        if there >= 0:
            mine = spans[there]
            if mine and mine[-1][1] == row:
                mine[-1] = mine[-1][0], row + 1
            else:
                mine.append((row, row + 1))
    return spans


def _ids(run: store.Run, name: str) -> Iterator[str]:
    """The prompt of each row of a whole-run table."""
    for table in run.tables(name, 0, ["prompt_id"]):
        yield from table["prompt_id"].to_pylist()

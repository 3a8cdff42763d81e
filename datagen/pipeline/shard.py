"""One shard of one stage: the unit of work of every executor, and of retries.

It reads the shard's rows of the earlier stages and commits its own; nothing else is shared between two shards.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import re
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datagen import records, store, version
from datagen.errors import RunError, one_line
from datagen.pipeline import retry
from datagen.pipeline.plan import Job, shared_out
from datagen.stages import Shard, Stage

MOST_REASONS = 5  # of a shard, in its footer
READ_TOGETHER = 4  # shards that a whole stage reads at a time
_NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclasses.dataclass(frozen=True)
class Task:
    """Any shard of a job, as executors are given it."""

    job: Job

    def __call__(self, index: int) -> bool | store.Damaged:
        return run_shard(self.job, index)

    @property
    def libraries(self) -> tuple[str, ...]:
        """What the stage's work imports."""
        return self.job.stage.libraries

    @property
    def gpus(self) -> int:
        """How many a worker of it needs."""
        return self.job.stage.gpus(self.job.context.profile)

    @property
    def one_machine(self) -> bool:
        """Whether all its workers must be on this one."""
        return self.job.stage.one_machine(self.job.context.profile)


def run_shard(job: Job, index: int) -> bool | store.Damaged:
    """Do one shard of one stage, or retry its failed rows; True if that wrote something.

    What it reads is looked at first: a shard that is not as it was written, its own or an earlier stage's, is handed
    back, so that the other shards go on.
    """
    _refuse_elsewhere(job.run, job.digest)
    try:
        return _run_shard(job, index)
    except store.Damaged as damaged:
        return damaged


@functools.lru_cache(maxsize=4)
def _refuse_elsewhere(run: store.Run, digest: str) -> None:
    """RunError on a machine that has no such run, where all that was made would seem to be lost."""
    settings = run.settings()
    if settings is None or settings["digest"] != digest:
        raise RunError(
            f"{run.name} on {socket.gethostname()} is not the run that this worker was sent a shard of: it must lie "
            "on storage that all machines see by the same path"
        )


def _run_shard(job: Job, index: int) -> bool:
    started = time.perf_counter()
    stage = job.stage
    shard = Shard({earlier.record: _inputs(job, earlier, index) for earlier in job.before if stage.sees(earlier)})
    footer = job.run.footer(stage.name, index) if index in job.retried else None
    if footer is None:
        written = stage.run(job.context, shard)
        rows = written.rows if written.tables is not None else retry.by_prompt(job, shard, written.rows)
        drops = Counter(written.drops)
    else:
        old = job.run.rows(stage.name, index, stage.record)
        written = retry.retry_failed(job, shard, old)
        if written.rows == old:
            return False
        rows, drops = written.rows, Counter(written.drops) + Counter(footer.drops)
    job.run.commit(
        stage.name,
        index,
        records.tables(stage.record, rows) if written.tables is None else written.tables,
        errors=sum(map(stage.failed, rows)),
        seconds=round(time.perf_counter() - started, 3),
        digest=job.digest,
        version=version(),
        drops={str(reason): int(count) for reason, count in drops.items()},
        remarks=dict(Counter(remark for row in rows for remark in stage.remarks(row))),
        stage_version=stage.version,
        made_from=job.sources[index],
        parts=_parts(job, rows) if job.is_shared_out else [],
        facts=written.facts,
        worker=f"{os.getpid()} on {socket.gethostname()}",
        reasons=_reasons(stage, rows),
    )
    return True


def _reasons(stage: Stage[Any], rows: Iterable[Any]) -> dict[str, int]:
    """Why content failed, the most frequent few; numbers, which differ from row to row, are left out of it."""
    errors = (_NUMBER.sub("…", one_line(Exception(row.error))) for row in rows if stage.failed(row))
    return dict(Counter(errors).most_common(MOST_REASONS))


def _parts(job: Job, rows: Iterable[Any]) -> list[str]:
    """The hash of the rows that each shard will see."""
    size, stage, parts, rows = job.context.recipe.images.shard_size, job.stage, list[str](), iter(rows)
    while part := list(itertools.islice(rows, size)):
        seen = [row for row in part if not stage.failed(row)]
        parts.append(store.content_hash(records.to_table(stage.record, seen)))
    return parts


def _inputs(job: Job, earlier: Stage[Any], index: int) -> pa.Table:
    """The rows of an earlier stage that a shard sees; those of a whole stage that failed are left out.

    A whole stage sees every shard of those before it, and a shard of a whole stage's rows what belongs to its prompts.
    """
    if not earlier.whole and not job.stage.whole:
        return _read(job, earlier, index)
    if not earlier.whole:
        with ThreadPoolExecutor(READ_TOGETHER) as pool:  # some are looked for and checked while others are decoded
            return pa.concat_tables(pool.map(functools.partial(_read, job, earlier), range(job.shards)))
    wanted = _wanted(job, earlier)
    if job.stage.whole or not (earlier == shared_out(job.stages) or "prompt_id" in earlier.columns):
        table = job.run.table(earlier.name, 0, wanted)
    elif earlier == shared_out(job.stages):
        size = job.context.recipe.images.shard_size
        table = job.run.part(earlier.name, 0, index * size, size, wanted)
    else:
        parts = _spans(job, earlier)[index] or [(0, 0)]
        some = [job.run.part(earlier.name, 0, first, last - first, wanted) for first, last in parts]
        table = pa.concat_tables(some)
    return table.filter(pc.is_null(table["error"])) if earlier.can_fail else table


def _read(job: Job, earlier: Stage[Any], index: int) -> pa.Table:
    """A shard's rows; Damaged if they are not those of its record."""
    wanted = _wanted(job, earlier)
    table = job.run.table(earlier.name, index, wanted)
    if table.column_names != (wanted or records.schema(earlier.record).names):
        raise job.run.damaged(earlier.name, index, "its columns are of another version")
    return table


def _wanted(job: Job, earlier: Stage[Any]) -> list[str] | None:
    """The columns that are read of an earlier stage; None for all that there are."""
    unread = job.stage.unread.get(earlier.record, ())
    return [name for name in records.schema(earlier.record).names if name not in unread] if unread else None


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

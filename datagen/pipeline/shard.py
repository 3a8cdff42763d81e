"""One shard of one stage: the unit of work of every executor, and of retries.

It reads the shard's rows of the earlier stages and commits its own; nothing else is shared between two shards.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import socket
import time
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datagen import records, store, version
from datagen.errors import RunError, one_line
from datagen.pipeline import retry
from datagen.pipeline.plan import Job, shared_out
from datagen.stages import Shard, Stage

MOST_REASONS = 5  # of a shard, in its footer
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


def _reasons(stage: Stage[Any], rows: list[Any]) -> dict[str, int]:
    """Why content failed, the most frequent few; numbers, which differ from row to row, are left out of it."""
    errors = (_NUMBER.sub("…", one_line(Exception(row.error))) for row in rows if stage.failed(row))
    return dict(Counter(errors).most_common(MOST_REASONS))


def _parts(job: Job, rows: list[Any]) -> list[str]:
    """The hash of the rows that each shard will see."""
    size, stage = job.context.recipe.images.shard_size, job.stage
    slices = (rows[first : first + size] for first in range(0, len(rows), size))
    seen = ([row for row in part if not stage.failed(row)] for part in slices)
    return [store.content_hash(records.to_table(stage.record, part)) for part in seen]


def _inputs(job: Job, earlier: Stage[Any], index: int) -> pa.Table:
    """The rows of an earlier stage that a shard sees; those of a whole stage that failed are left out.

    A whole stage sees every shard of those before it, and a shard of a whole stage's rows what belongs to its prompts.
    """
    if not earlier.whole:
        shards = range(job.shards) if job.stage.whole else [index]
        return pa.concat_tables([_read(job, earlier, shard) for shard in shards])
    table = _whole_table(job.run, earlier.name, _changed(job, earlier))
    if not job.stage.whole and earlier == shared_out(job.stages):
        size = job.context.recipe.images.shard_size
        table = table.slice(index * size, size)
    elif not job.stage.whole and "prompt_id" in table.column_names:
        table = _of_prompts(job, earlier, table, index)
    return table.filter(pc.is_null(table["error"])) if earlier.can_fail else table


def _read(job: Job, earlier: Stage[Any], index: int) -> pa.Table:
    """A shard's rows; Damaged if they are not those of its record."""
    known, unread = records.schema(earlier.record).names, job.stage.unread.get(earlier.record, ())
    wanted = [name for name in known if name not in unread]
    table = job.run.table(earlier.name, index, wanted if unread else None)
    if table.column_names != wanted:
        raise job.run.damaged(earlier.name, index, "its columns are of another version")
    return table


def _of_prompts(job: Job, earlier: Stage[Any], table: pa.Table, index: int) -> pa.Table:
    """The rows of a shard's prompts, in their order; those of one prompt stand together."""
    shared, size = shared_out(job.stages), job.context.recipe.images.shard_size
    own = _whole_table(job.run, shared.name, _changed(job, shared))["prompt_id"].slice(index * size, size)
    places = _places(job.run, earlier.name, _changed(job, earlier))
    runs: list[tuple[int, int]] = []  # first rows and how many; what stands together is one, or thousands are joined
    for first, count in (places[name] for name in own.to_pylist() if name in places):
        before = runs[-1] if runs else (0, 0)
        if runs and sum(before) == first:
            runs[-1] = before[0], before[1] + count
        else:
            runs.append((first, count))
    return pa.concat_tables([table.slice(*some) for some in runs]) if runs else table.slice(0, 0)


def _changed(job: Job, stage: Stage[Any]) -> int:
    return job.run.changed(stage.name, 0)


@functools.lru_cache(maxsize=4)
def _whole_table(run: store.Run, name: str, mtime: int) -> pa.Table:
    """A whole-run table, read once per process instead of once per shard."""
    return run.table(name, 0)


@functools.lru_cache(maxsize=4)
def _places(run: store.Run, name: str, mtime: int) -> dict[str, tuple[int, int]]:
    """Where the rows of each prompt stand in a whole-run table: the first, and how many."""
    places: dict[str, tuple[int, int]] = {}
    for row, prompt in enumerate(_whole_table(run, name, mtime)["prompt_id"].to_pylist()):
        first, count = places.get(prompt, (row, 0))
        places[prompt] = (first, count + 1)
    return places

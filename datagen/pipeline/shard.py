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
from collections.abc import Iterable
from typing import Any

from datagen import records, store, version
from datagen.errors import RunError, one_line
from datagen.pipeline import inputs, retry
from datagen.pipeline.plan import Job
from datagen.stages import Stage

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
    shard = inputs.of(job, index)
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

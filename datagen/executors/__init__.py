"""Where shards are worked: one signature for every place.

An executor gets a picklable task and the indices to do and yields (index, result) as they finish. A shard that fails
is tried once more and then yielded as a `Failure`; an error of ours ends everything: whoever raised it has tried.
"""

from __future__ import annotations

import dataclasses
import os

from datagen.recipe import Profile

MOST_WORKERS = 8  # by default: each takes about a gigabyte of memory


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a shard could not be done."""

    reason: str
    trace: str = ""


def default_workers(profile: Profile) -> int:
    """How many processes a profile gains from: one per core for the embedded model, else one."""
    if profile.model != "embedded":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_WORKERS)

"""Where shards are worked. The folder is the registry: one file an executor, each with one function.

`run(task, indices, workers)` gets a picklable task and the indices to do and yields (index, result) as they finish. A
shard that fails is tried once more and then yielded as a `Failure`; an error of ours ends everything: whoever raised
it has tried.
"""

from __future__ import annotations

import dataclasses
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, cast

from datagen.errors import DatagenError, InputError
from datagen.executors import gpus
from datagen.recipe import Profile
from datagen.registry import Registry

T = TypeVar("T")
EXECUTORS = Registry(__name__, "executor", InputError, not_entries=("gpus",))
ATTEMPTS = 2
MOST_WORKERS = 8  # by default: each takes about a gigabyte of memory


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a shard could not be done."""

    reason: str
    trace: str = ""


class Executor(Protocol):
    """The `run` of an executor's file."""

    def __call__(
        self, task: Callable[[int], Any], indices: Sequence[int], workers: int = 1
    ) -> Iterator[tuple[int, Any | Failure]]:
        """Work every index once; the results as they come, a Failure in the place of what failed twice.

        A task may have `libraries`, the names of modules that its work imports and that take long to import,
        `gpus`, how many of them a worker of it needs, and `one_machine`, whether all workers must be on this machine.
        """


def load(name: str) -> Executor:
    """The executor of a name; InputError with the nearest one if there is none."""
    return cast(Executor, EXECUTORS.module(name).run)


def attempt(task: Callable[[int], T], index: int) -> T | Failure:
    """One attempt at a shard. Anything but a DatagenError becomes a Failure, so that the other shards go on."""
    try:
        return task(index)
    except DatagenError:
        raise
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}", traceback.format_exc())


def work(task: Callable[[int], T], index: int) -> T | Failure:
    """A shard done here and now, in as many attempts as it gets."""
    result = attempt(task, index)
    for _ in range(ATTEMPTS - 1):
        result = attempt(task, index) if isinstance(result, Failure) else result
    return result


def default_workers(profile: Profile, executor: str = "local") -> int:
    """How many workers a profile gains from: what the executor says by its WORKERS, which counts its own machines.

    Here one process a core for the embedded model, else one a GPU, and at least one.
    """
    if (own := getattr(EXECUTORS.module(executor), "WORKERS", None)) is not None:
        return int(own)
    if profile.model != "embedded":
        return max(1, min(len(gpus.visible()), MOST_WORKERS))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_WORKERS)

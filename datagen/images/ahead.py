"""Pictures made ready by threads while something else is busy with earlier ones.

Pillow lets go of Python's lock while it decodes and resizes, so that threads use all processors.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def prefetch(work: Callable[[Item], Made], items: Iterable[Item], depth: int) -> Iterator[Made]:
    """`work` of every item in order, done by threads up to `depth` items before the result is asked for.

    What `work` raises is raised in its item's place. `items` is read by the thread that asks, and never further ahead.
    """
    source = iter(items)
    with ThreadPoolExecutor(min(depth, threads())) as pool:
        waiting: list[Future[Made]] = [pool.submit(work, item) for item in islice(source, depth)]
        try:
            while waiting:
                made = waiting.pop(0).result()
                waiting += [pool.submit(work, item) for item in islice(source, 1)]
                yield made
        finally:
            for future in waiting:
                future.cancel()


def threads() -> int:
    """How many threads decode and hash: the processors this process may use, at most 16."""
    return min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)

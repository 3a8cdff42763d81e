"""Evaluations that do not depend on each other, on as many cores as there are: the same values, in their order.

Threads do: nearly all of the time goes into NumPy's loops, which let others run.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")
MOST = 4  # each holds tables of its own


def together(of: Callable[[Given], Made], given: Iterable[Given]) -> list[Made]:
    """What the function makes of each, as `map`; the function does not call this again."""
    return list(_pool(os.getpid()).map(of, given))


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Kept, as to begin threads takes as long as a small evaluation; a forked process has none of its parent's."""
    return ThreadPoolExecutor(min(MOST, os.cpu_count() or 1))

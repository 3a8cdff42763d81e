"""By how much a process grows over its present size while something is done, in MiB.

The kernel's own high-water mark is reset first where it can be (Linux); elsewhere a thread looks every millisecond.
"""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Callable
from pathlib import Path

import psutil


def growth(work: Callable[[], object], times: int) -> float:
    """The peak of resident memory during `times` calls, over what was resident before the first."""
    before = resident()
    peak = _by_mark(work, times) or _by_watching(work, times)
    return (peak - before) / 2**20


def resident() -> int:
    """Bytes of this process in memory, once what was freed is given back, so that it does not hide what comes."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):  # not glibc
        pass
    return int(psutil.Process().memory_info().rss)


def reset_peak() -> None:
    """Forget the kernel's high-water mark of this process, which then is what it holds now. OSError if it has none."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_since_reset() -> float:
    """That mark, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def _by_mark(work: Callable[[], object], times: int) -> int:
    """Bytes, or 0 where there is no such mark."""
    try:
        reset_peak()
    except OSError:
        return 0
    for _ in range(times):
        work()
    return int(peak_since_reset() * 2**20)


def _by_watching(work: Callable[[], object], times: int) -> int:
    done, seen, process = threading.Event(), [0], psutil.Process()

    def watch() -> None:
        while not done.wait(0.001):
            seen[0] = max(seen[0], process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    for _ in range(times):
        work()
    done.set()
    thread.join()
    return seen[0]

"""Progress of long work on stderr: a live bar on a terminal, a plain line every few seconds elsewhere.

Library code knows only `Progress`, a function of (what, done, total); this module is how the command line shows it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

Progress = Callable[[str, int, int], None]
PLAIN_EVERY_S = 5.0


class Display:
    """Shows the progress of stages: done of total, rate, time left. A context manager; `show` is a `Progress`."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}
        self._started: dict[str, tuple[float, int]] = {}  # stage → when it was first shown, and its progress then
        self._printed = 0.0

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (
                TextColumn("{task.description:>10}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[pace]}"),
            )
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, line: str) -> None:
        """Print a line without breaking the bar."""
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def show(self, what: str, done: int, total: int) -> None:
        """Report the progress of `what`."""
        now = time.monotonic()
        begun, before = self._started.setdefault(what, (now, done))
        shown = pace(done - before, total - done, now - begun)
        if self._bar is not None:
            if what not in self._tasks:
                self._tasks[what] = self._bar.add_task(what, total=total, pace="")
            self._bar.update(self._tasks[what], completed=done, total=total, pace=shown)
        elif done in (before, total) or now - self._printed >= PLAIN_EVERY_S:
            self._printed = now
            print(f"{what}: {done}/{total} {shown}".rstrip(), file=sys.stderr, flush=True)


def pace(made: int, left: int, seconds: float) -> str:
    """Rate and time left in words; nothing before there is something to measure."""
    if made <= 0 or seconds <= 0:
        return ""
    rate = made / seconds
    per = f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each"
    if left <= 0:
        return f"{per}, {_clock(seconds)}"
    return f"{per}, {_clock(left / rate)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

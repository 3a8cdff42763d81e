"""Progress of long work on stderr: a live bar in a terminal, a plain line now and then anywhere else.

Shows what is done, the rate and the time left. Use as a context manager.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich import progress as bars
from rich.console import Console

PLAIN_EVERY = 15.0  # seconds between lines where there is no terminal


class Progress:
    """Counts `total` units of work called `unit`, of which `done` were finished before; `quiet` shows nothing."""

    def __init__(self, label: str, total: int, unit: str, *, done: int = 0, quiet: bool = False) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = self.before = done
        self.quiet = quiet
        self.note = ""
        self.started = self.said = time.monotonic()
        self.bar: bars.Progress | None = None
        if sys.stderr.isatty() and not quiet:
            self.bar = bars.Progress(
                bars.TextColumn("{task.description}"),
                bars.BarColumn(),
                bars.MofNCompleteColumn(),
                bars.TimeRemainingColumn(),
                bars.TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
            )
            self.task = self.bar.add_task(label, total=total, completed=done, note="")

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()
        elif kind is None:
            self._say()

    @property
    def rate(self) -> float:
        """Units a second since the start."""
        return (self.done - self.before) / max(time.monotonic() - self.started, 1e-9)

    def advance(self, units: int = 1, note: str = "") -> None:
        """Count finished units; `note` is shown beside them."""
        self.done += units
        self.note = note or self.note
        if self.bar:
            self.bar.update(self.task, advance=units, note=f"{self.rate:.1f} {self.unit}/s {self.note}")
        elif time.monotonic() - self.said > PLAIN_EVERY:
            self._say()

    def _say(self) -> None:
        self.said = time.monotonic()
        if self.quiet:
            return
        left = (self.total - self.done) / max(self.rate, 1e-9)
        done = f"{self.label}: {self.done}/{self.total} {self.unit}"
        print(
            f"{done}, {self.rate:.1f}/s, {left:.0f} s left {self.note}".rstrip(),
            file=sys.stderr,
        )

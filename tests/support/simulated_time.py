"""An event loop in simulated time: nothing waits, and the machine's load changes nothing."""

from __future__ import annotations

import asyncio
import selectors


class Leaps(selectors.DefaultSelector):
    """Where an event loop would wait for its next timer, its clock leaps there."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if not timeout or timeout < 0:
            return super().select(timeout)
        if not (ready := super().select(0)):
            self.now += timeout
        return ready


def simulated() -> asyncio.AbstractEventLoop:
    """A loop whose clock begins at 0 and leaps."""
    selector = Leaps()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    return loop

"""Group commit: completions go to the cache and bills to the ledger in batches, and replies leave after them.

What is put in leaves in order. While one batch is being written in a thread the next gathers, so the disk is waited
for once a batch, and never by the event loop.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic

from datagen.llm.service import Given

if TYPE_CHECKING:
    from datagen.llm.accounts.cache import Cache
    from datagen.llm.accounts.money import Call, Ledger

Emit = Callable[[list[tuple[int, Given]]], None]


@dataclasses.dataclass(frozen=True)
class Bought:
    """What a call left: a completion for the cache under `key` ("": not cached), and its bill if nobody booked it."""

    key: str = ""
    completion: dict[str, Any] | None = None
    call: Call | None = None


class Outbox(Generic[Given]):
    """Writes what was bought, then hands out the replies to `emit`; `failed` is told why nothing can be written."""

    def __init__(self, cache: Cache, ledger: Ledger, failed: Callable[[Exception], None]) -> None:
        self.emit: Emit[Given] = lambda replies: None
        self._cache, self._ledger, self._failed = cache, ledger, failed
        self._bought: list[tuple[Bought, asyncio.Future[None]]] = []
        self._replies: list[tuple[int, Given, str]] = []
        self._writer: asyncio.Task[None] | None = None
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "datagen-commit")

    def add(self, row: Bought) -> asyncio.Future[None]:
        """Write what was bought soon; what is returned is done when it is on disk, and cancelled if it cannot be."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._bought.append((row, written))
        self._start()
        return written

    def put(self, index: int, reply: Given, stage: str) -> None:
        """Hand out a reply after all that was bought before it is on disk."""
        self._replies.append((index, reply, stage))
        self._start()

    async def flush(self) -> None:
        """Wait until everything is written and handed out, or cannot be written once more."""
        if self._bought or self._replies:
            self._start()
        if self._writer is not None:
            await asyncio.shield(self._writer)

    def _start(self) -> None:
        if self._writer is None:
            self._writer = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._bought or self._replies:
                bought, self._bought = self._bought, []
                replies, self._replies = self._replies, []
                cached = collections.Counter(stage for _, reply, stage in replies if reply.cached)
                if bought or cached:
                    rows = [row for row, _ in bought]
                    try:
                        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, rows, cached)
                    except Exception as error:  # a full disk: keep it for one more attempt at the end
                        self._bought, self._replies = bought + self._bought, replies + self._replies
                        self._failed(error)
                        for _, written in self._bought:
                            written.cancel()  # the run ends: nobody need wait for it
                        return
                for _, written in bought:
                    if not written.done():
                        written.set_result(None)
                if replies:
                    self.emit([(index, reply) for index, reply, _ in replies])
        finally:
            self._writer = None

    def _write(self, bought: list[Bought], cached: collections.Counter[str]) -> None:
        # The bill goes first: killed in between, the call is made again, and both are on the account as they must be.
        self._ledger.record([row.call for row in bought if row.call is not None])
        self._cache.put_many((row.key, row.completion) for row in bought if row.key and row.completion is not None)
        for stage, count in cached.items():
            self._ledger.count_cached(stage, count)

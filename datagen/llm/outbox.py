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
from typing import TYPE_CHECKING, Any

from datagen.llm.accounts.money import Call
from datagen.llm.messages import Reply, Usage

if TYPE_CHECKING:
    from datagen.llm.accounts.cache import Cache
    from datagen.llm.accounts.money import Ledger

Emit = Callable[[list[tuple[int, Reply]]], None]


@dataclasses.dataclass(frozen=True)
class PaidCompletion:
    """A paid completion; an empty `key` is not cached."""

    stage: str
    key: str
    model: str
    usage: Usage
    completion: dict[str, Any]


class Outbox:
    """Writes what was bought, then hands out the replies to `emit`.

    `landed` is called with each key once it is in the cache, `failed` with the reason why nothing can be written.
    """

    def __init__(
        self, cache: Cache, ledger: Ledger, landed: Callable[[str], None], failed: Callable[[Exception], None]
    ) -> None:
        self.emit: Emit = lambda replies: None
        self._cache, self._ledger, self._landed, self._failed = cache, ledger, landed, failed
        self._bought: list[tuple[PaidCompletion, bool]] = []
        self._replies: list[tuple[int, Reply, str]] = []
        self._writer: asyncio.Task[None] | None = None
        self._writing = 0
        self._written = asyncio.Event()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "datagen-commit")

    def bought(self, row: PaidCompletion, book: bool) -> None:
        """Write a completion soon, and its bill too if `book` (a budget has booked it already)."""
        self._bought.append((row, book))
        self._start()

    def put(self, index: int, reply: Reply, stage: str) -> None:
        """Hand out a reply after all that was bought before it is on disk."""
        self._replies.append((index, reply, stage))
        self._start()

    @property
    def unsaved(self) -> int:
        """How many completions a kill would lose now."""
        return len(self._bought) + self._writing

    async def written(self) -> None:
        """Wait for the next batch to be on disk."""
        await self._written.wait()

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
                bought, self._bought, self._writing = self._bought, [], len(self._bought)
                replies, self._replies = self._replies, []
                cached = collections.Counter(stage for _, reply, stage in replies if reply.cached)
                if bought or cached:
                    try:
                        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, bought, cached)
                    except Exception as error:  # a full disk: keep it for one more attempt at the end
                        self._bought, self._replies = bought + self._bought, replies + self._replies
                        self._writing = 0
                        self._failed(error)
                        return
                self._writing = 0
                for row, _ in bought:
                    self._landed(row.key)
                self._written.set()
                self._written = asyncio.Event()
                if replies:
                    self.emit([(index, reply) for index, reply, _ in replies])
        finally:
            self._writer = None

    def _write(self, bought: list[tuple[PaidCompletion, bool]], cached: collections.Counter[str]) -> None:
        # The bill goes first: killed in between, the call is made again, and both are on the account as they must be.
        self._ledger.record([Call(row.stage, row.key, row.model, row.usage) for row, book in bought if book])
        self._cache.put_many((row.key, row.completion) for row, _ in bought if row.key)
        for stage, count in cached.items():
            self._ledger.count_cached(stage, count)

"""The life of one request: cache, sender, reading, one correction round, commit.

Runs in one event loop, any number of requests at once. A reply is handed out only when its completion is in the
cache and its bill in the ledger, both on disk; whatever ends a run, what was paid for is saved first.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic

from datagen.errors import ServerError
from datagen.llm.endpoint import Endpoint
from datagen.llm.finish import Completion
from datagen.llm.messages import Usage
from datagen.llm.outbox import Emit, Outbox
from datagen.llm.providers import Transport
from datagen.llm.sender import Sender
from datagen.llm.service import Asked, Given, Service

if TYPE_CHECKING:
    from datagen.llm.accounts.cache import Cache
    from datagen.llm.accounts.money import Budget, Ledger, Prices

DRAIN_S = 10.0  # for the calls on the wire when the run must end: they are paid for


class Engine(Generic[Asked, Given]):
    """Asks one server; make it, use it and close it in one event loop."""

    def __init__(
        self,
        endpoint: Endpoint,
        transport: Transport,
        service: Service[Asked, Given],
        cache: Cache,
        ledger: Ledger,
        budget: Budget | None,
        prices: Prices,
        say: Callable[[str], None],
    ) -> None:
        self._endpoint, self._cache = endpoint, cache
        self._transport, self._service = transport, service
        self._flying: dict[str, asyncio.Future[Completion]] = {}  # asked for and not yet in the cache
        self._outbox: Outbox[Given] = Outbox(cache, ledger, self._fail)
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._working = asyncio.Lock()
        self._sender = Sender(
            endpoint, transport, service, self._outbox, budget, prices, say, lambda: self._failed.done()
        )

    async def close(self) -> None:
        """Write what has not been written yet and close the connections."""
        await self._outbox.flush()
        await self._transport.close()

    async def work(self, requests: Sequence[Asked], emit: Emit[Given]) -> None:
        """Answer all requests; `emit` gets (index, reply) as they are committed. Raises what ended it early.

        One call at a time; another one waits until it is done.
        """
        async with self._working:
            await self._work(requests, emit)

    async def idle(self) -> None:
        """Wait until no `work` is running: one that was cancelled still writes what it has."""
        async with self._working:
            return

    async def _work(self, requests: Sequence[Asked], emit: Emit[Given]) -> None:
        self._failed = asyncio.get_running_loop().create_future()
        self._outbox.emit = emit
        self._sender.begin()
        todo = iter(enumerate(requests))
        count = min(self._endpoint.concurrency, len(requests))
        workers = [asyncio.create_task(self._worker(todo)) for _ in range(count)]
        done = asyncio.gather(*workers, return_exceptions=True)
        try:
            ends: list[asyncio.Future[Any]] = [done, self._failed]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                await self._drain(workers)
        finally:  # Ctrl-C arrives as a cancellation: what has arrived is written, and nothing more is waited for
            for worker in workers:
                worker.cancel()
            await done
            await self._outbox.flush()
            if not self._failed.done():
                self._failed.cancel()
        if not self._failed.cancelled():
            self._failed.result()

    async def _drain(self, workers: list[asyncio.Task[None]]) -> None:
        """Stop everything but the calls on the wire, and give those a moment to return."""
        for worker in workers:
            if worker not in self._sender.on_wire:
                worker.cancel()
        if self._sender.on_wire:
            await asyncio.wait(set(self._sender.on_wire), timeout=DRAIN_S)

    async def _worker(self, todo: Iterator[tuple[int, Asked]]) -> None:
        for index, request in todo:
            try:
                reply = await self._answer(request)
                self._outbox.put(index, reply, request.stage)
                if reply.cached:
                    await asyncio.sleep(0)  # replies from the cache never wait, and must not hold up the calls
            except Exception as error:  # whatever it is, the caller must learn of it
                self._fail(error)
                return

    def _fail(self, error: Exception) -> None:
        """End the run in `work`; the first reason counts."""
        if not self._failed.done():
            self._failed.set_exception(error)

    async def _answer(self, request: Asked) -> Given:
        """Handle one request to its end: a value, or an error of content after one correction round."""
        reply, correction = self._service.finish(request, await self._completion(request))
        if correction is None:
            return reply
        return self._service.corrected(request, reply, await self._completion(correction))

    async def _completion(self, request: Asked) -> Completion:
        """The completion of a request: from the cache, from an identical request in flight, or bought."""
        key = self._service.key(request)
        if (flying := self._flying.get(key)) is not None:
            return dataclasses.replace(await asyncio.shield(flying), usage=Usage(), cached=True)
        if (stored := self._cache.get(key)) is not None:
            if self._service.is_whole(stored):
                return Completion(stored, cached=True)
            self._cache.drop(key)
        self._flying[key] = flying = asyncio.get_running_loop().create_future()
        try:
            completion = await self._sender.buy(request, key)
        except BaseException as error:
            flying.set_exception(error if isinstance(error, Exception) else ServerError("the run was stopped"))
            flying.exception()  # nothing may be waiting for it
            raise
        else:
            flying.set_result(completion)
            return completion
        finally:
            del self._flying[key]

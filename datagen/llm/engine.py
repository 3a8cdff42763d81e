"""The life of one request: cache, place, pace, budget, wire, retries, reading, one correction round, commit.

Runs in one event loop, any number of requests at once. A reply is handed out only when its completion is in the
cache and its bill in the ledger, both on disk; whatever ends a run, what was paid for is saved first.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from datagen.errors import EndpointError, RequestRejected, ServerError
from datagen.llm.accounts import cache as caching
from datagen.llm.endpoint import Endpoint
from datagen.llm.finish import Completion, corrected, finish, rejected
from datagen.llm.limits import MINUTE_S, Health, Pace, Window
from datagen.llm.messages import Message, Reply, Request, Usage
from datagen.llm.outbox import Emit, Outbox, PaidCompletion
from datagen.llm.providers import RetryableError, Transport
from datagen.llm.typed import structured

if TYPE_CHECKING:
    from datagen.llm.accounts.money import Budget, Ledger, Prices, Reservation

FIRST_WAIT_S, LONGEST_WAIT_S = (
    0.25,
    4.0,
)  # before the second attempt, and before any; the window sets how many at once
TRIES = 8  # for one request that fails while others succeed; a 429 is not its fault and does not count
REJECTED = 8  # requests refused with HTTP 400 before any was answered, after which it is not the requests' fault
DRAIN_S = 10.0  # for the calls on the wire when the run must end: they are paid for


class Engine:
    """Asks one server; make it, use it and close it in one event loop."""

    def __init__(
        self,
        endpoint: Endpoint,
        transport: Transport,
        cache: caching.Cache,
        ledger: Ledger,
        budget: Budget | None,
        prices: Prices,
        say: Callable[[str], None],
    ) -> None:
        self._endpoint, self._cache, self._ledger, self._budget, self._prices = endpoint, cache, ledger, budget, prices
        self._say = say
        self._transport = transport
        clock = asyncio.get_running_loop().time
        self._window, self._health = Window(endpoint.concurrency, clock), Health(clock)
        self._requests = Pace(endpoint.requests_per_minute, clock)
        self._tokens = Pace(endpoint.tokens_per_minute, clock)
        self._flying: dict[str, asyncio.Future[Completion]] = {}  # bought and not yet in the cache
        self._on_wire: set[asyncio.Task[Any]] = set()
        self._outbox = Outbox(cache, ledger, self._landed, self._fail)
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._dialect: structured.Dialect | None = None
        self._probing, self._working = asyncio.Lock(), asyncio.Lock()
        self._answered = self._rejected = 0

    async def close(self) -> None:
        """Write what has not been written yet and close the connections."""
        await self._outbox.flush()
        await self._transport.close()

    async def work(self, requests: Sequence[Request], emit: Emit) -> None:
        """Answer all requests; `emit` gets (index, reply) as they are committed. Raises what ended it early.

        One call at a time; another one waits until it is done.
        """
        async with self._working:
            await self._work(requests, emit)

    async def idle(self) -> None:
        """Wait until no `work` is running: one that was cancelled still writes what it has."""
        async with self._working:
            return

    async def _work(self, requests: Sequence[Request], emit: Emit) -> None:
        self._failed = asyncio.get_running_loop().create_future()
        self._outbox.emit = emit
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
            if worker not in self._on_wire:
                worker.cancel()
        if self._on_wire:
            await asyncio.wait(set(self._on_wire), timeout=DRAIN_S)

    async def _worker(self, todo: Iterator[tuple[int, Request]]) -> None:
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

    async def _answer(self, request: Request) -> Reply:
        """Handle one request to its end: a value, or an error of content after one correction round."""
        reply, correction = finish(request, await self._completion(request), self._endpoint.model)
        if correction is None:
            return reply
        return corrected(request, reply, await self._completion(correction))

    async def _completion(self, request: Request) -> Completion:
        """The completion of a request: from the cache, from an identical request in flight, or bought."""
        key = caching.key(request, self._endpoint.model)
        if (flying := self._flying.get(key)) is not None:
            return dataclasses.replace(await asyncio.shield(flying), usage=Usage(), cached=True)
        if (stored := self._cache.get(key)) is not None:
            return Completion(stored, cached=True)
        self._flying[key] = flying = asyncio.get_running_loop().create_future()
        try:
            completion = await self._buy(request, key)
        except BaseException as error:
            del self._flying[key]
            flying.set_exception(error if isinstance(error, Exception) else ServerError("the run was stopped"))
            flying.exception()  # nothing may be waiting for it
            raise
        flying.set_result(completion)
        if completion.problem is not None:
            del self._flying[key]
        return completion

    def _landed(self, key: str) -> None:
        """A completion is in the cache."""
        self._flying.pop(key, None)

    async def _buy(self, request: Request, key: str) -> Completion:
        """Pay for a completion, with retries; its `problem` says why the server gives none for this request."""
        try:
            dialect, bounds = await self._dialect_for(request), self._endpoint.bounds
            body = structured.body(request, self._endpoint.model, dialect, bounds)
            completion = await self._send_with_retries(request, key, json.dumps(body).encode())
        except RequestRejected as rejection:
            self._rejected += 1
            if not self._answered and self._rejected >= REJECTED:
                raise EndpointError(str(rejection)) from rejection
            return Completion(problem=rejected(rejection.code, str(rejection)))
        except RetriesExhausted as failure:
            return Completion(problem=f"unreadable: {failure}")
        self._answered += 1
        return completion

    async def _send_with_retries(self, request: Request, key: str, body: bytes) -> Completion:
        """Send until there is a completion; it is being written to disk when this returns."""
        seen, tries = self._health.successes, 0
        for attempt in itertools.count():
            try:
                return await self._call(request, key, body)
            except RetryableError as failure:
                tries += not failure.busy
                self._raise_if_down(failure)
                if tries >= TRIES and self._health.successes > seen:
                    raise RetriesExhausted(f"the server failed {tries} times on this request ({failure})") from failure
                wait = random.uniform(0.5, 1.0) * min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(attempt, 10))
                await asyncio.sleep(max(wait, min(failure.retry_after or 0.0, MINUTE_S)))
        raise AssertionError("unreachable")

    def _raise_if_down(self, failure: RetryableError) -> None:
        """Raise if the server cannot be reached at all, or has done nothing but fail for long enough."""
        address = self._endpoint.base_url
        if failure.unreachable and not self._health.successes:
            raise EndpointError(f"no server answers at {address}: {failure}; start it, or check DATAGEN_LLM_BASE_URL")
        if (reason := self._health.down()) is not None:
            raise ServerError(f"gave up on {address}: {reason}; replies that came are kept: rerun later to resume")

    async def _call(self, request: Request, key: str, body: bytes) -> Completion:
        """One attempt. Waiting for a place, for a rate limit and for the budget does not count as the call's time."""
        await self._window.enter()
        seconds, overload = None, False
        try:
            allowed = _tokens(request)
            await self._turn(allowed)
            reservation = await self._reserve(request, key)
            started = asyncio.get_running_loop().time()
            try:
                completion = await self._send(body, request.sample)
            except BaseException as error:
                if self._budget is not None and reservation is not None:
                    if isinstance(error, (RetryableError, EndpointError)) and not getattr(error, "sent", False):
                        self._budget.settle(reservation, Usage())
                    else:
                        self._budget.forfeit(reservation)
                if isinstance(error, RetryableError):
                    seconds, overload = asyncio.get_running_loop().time() - started, True
                    self._health.failure(str(error), retry_after=error.retry_after)
                raise
            seconds = asyncio.get_running_loop().time() - started
            self._health.success()
            usage = self._prices.usage(self._endpoint.model, completion)
            if self._budget is not None and reservation is not None:
                # A completion that does not say what it used may have used all that it was allowed.
                self._budget.forfeit(reservation) if usage is None else self._budget.settle(reservation, usage)
            usage = usage or Usage()
            self._tokens.give_back(max(0.0, allowed - usage.input_tokens - usage.output_tokens))
            paid = PaidCompletion(request.stage, key, self._endpoint.model, usage, completion)
            self._outbox.bought(paid, book=self._budget is None)
            return Completion(completion, usage)
        finally:
            self._window.abandon() if seconds is None else self._window.leave(seconds, overload)

    async def _turn(self, tokens: float) -> None:
        """Wait until the server's Retry-After and the rate limits allow one more call."""
        while (pause := self._health.pause()) > 0:
            await asyncio.sleep(pause)
        if (wait := max(self._requests.take(1), self._tokens.take(tokens))) > 0:
            await asyncio.sleep(wait)
        if self._failed.done():
            raise asyncio.CancelledError

    async def _reserve(self, request: Request, key: str) -> Reservation | None:
        """Reserve the money for a call, if there is a budget, and wait for room for its answer."""
        reservation = None if self._budget is None else await self._budget.reserve(request, key)
        try:
            await self._room()
        except BaseException:
            if self._budget is not None and reservation is not None:
                self._budget.settle(reservation, Usage())
            raise
        return reservation

    async def _room(self) -> None:
        """Wait for the disk, so that a kill never loses more calls than may be in flight."""
        while len(self._on_wire) + self._outbox.unsaved >= self._endpoint.concurrency:
            await self._outbox.written()

    async def _send(self, body: bytes, sample: int) -> dict[str, Any]:
        task = asyncio.current_task()
        assert task is not None
        self._on_wire.add(task)
        try:
            return await self._transport.send(body, sample)
        finally:
            self._on_wire.discard(task)

    async def _dialect_for(self, request: Request) -> structured.Dialect:
        """How the type of a reply is given to the server; found out at the first typed request."""
        if request.reply is None:
            return structured.Dialect.TEXT
        if self._dialect is None:
            async with self._probing:
                if self._dialect is None:
                    self._dialect = await self._find_dialect()
        return self._dialect

    async def _find_dialect(self) -> structured.Dialect:
        for _ in range(2):  # one odd answer must not decide how a whole run is asked
            dialect = await structured.probe(self._probe, self._endpoint.model)
            if dialect is structured.Dialect.SCHEMA:
                return dialect
        self._say(f"{self._endpoint.base_url} does not heed JSON schemas: replies are asked for as {dialect}")
        return dialect

    async def _probe(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send a probe; it is paid for like any call, and never cached, because servers change."""
        texts = tuple(Message("user", json.dumps(message.get("content", ""))) for message in body["messages"])
        allowed = int(body.get("max_tokens") or body.get("max_completion_tokens") or Request.max_tokens)
        request = Request(texts, stage="probe", max_tokens=allowed)
        completion = await self._send_with_retries(request, "", json.dumps(body).encode())
        return completion.body


class RetriesExhausted(Exception):
    """A request that the server keeps failing on while it answers others."""


def _tokens(request: Request) -> float:
    """About what a request counts against a limit of tokens a minute: what it says, and all it may answer."""
    images = sum(len(message.images) for message in request.messages)
    return sum(len(message.text) for message in request.messages) / 4 + 1000 * images + request.max_tokens

"""From one request to its completion: place, pace, budget, wire, retries, what is learnt of the server, the bill.

Runs in one event loop, any number of requests at once. A completion is returned when it is in the cache and its bill
in the ledger, both on disk; a call that was paid for nothing is on the account as well.
"""

from __future__ import annotations

import asyncio
import collections
import functools
import itertools
import json
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic

from datagen.errors import EndpointError, NoAnswers, RequestRejected, ServerError
from datagen.llm.accounts.account import Account, Entry
from datagen.llm.endpoint import Endpoint
from datagen.llm.finish import Completion, rejected
from datagen.llm.limits import MINUTE_S, Health, Pace, Window
from datagen.llm.outbox import Bought, Outbox
from datagen.llm.providers import RetryableError, ServerRefusal, Transport, UnusableAnswer
from datagen.llm.quotas import Quotas
from datagen.llm.service import Asked, Service

if TYPE_CHECKING:
    from datagen.llm.accounts.money import Budget, Prices
    from datagen.llm.quotas import Need

FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 4.0  # before the second attempt, and before any; the window sets how many at once
LESSONS = 12  # most that one request may teach
TRIES = 8  # for one request that fails while others succeed; a 429 is not its fault and does not count
UNUSABLE = 3  # paid answers to one request of which none can be used; two that are alike are enough
NEVER = 8  # requests without an answer before any had one, after which it is not the requests' fault
STREAK = 8  # requests in a row that the server refuses as it would refuse all (a key revoked on the way)
FRUITLESS = 16  # requests in a row that were paid for nothing, after which no more are sent


class Sender(Generic[Asked]):
    """Asks one server. `stopped` says whether the run ends, so that nothing more is sent."""

    def __init__(
        self,
        endpoint: Endpoint,
        transport: Transport,
        service: Service[Asked, Any],
        outbox: Outbox[Any],
        budget: Budget | None,
        prices: Prices,
        say: Callable[[str], None],
        stopped: Callable[[], bool],
    ) -> None:
        self._endpoint, self._transport, self._service = endpoint, transport, service
        self._outbox, self._say = outbox, say
        self._stopped = stopped
        clock = asyncio.get_running_loop().time
        self._window = Window(endpoint.concurrency, clock)
        self._health = Health(clock, endpoint.patience)
        self._requests = Pace(endpoint.requests_per_minute, clock)
        self._tokens = Pace(endpoint.tokens_per_minute, clock)
        self._quotas = Quotas(clock, lambda line: say(f"{endpoint.address}: {line}"))
        self._account = Account(prices, endpoint.model, budget, service)
        self.on_wire: set[asyncio.Task[Any]] = set()
        self._answered = 0  # requests
        self._streaks: collections.Counter[type[Exception]] = collections.Counter()  # requests since, by what they met
        self._fruitless = ""  # why no more requests are sent
        # Under a budget one request goes first: it shows what this server bills for one, before many are in flight.
        self._first, self._shown = asyncio.Lock(), budget is None

    def begin(self) -> None:
        """Begin a new series of requests: what was fruitless before may have been mended."""
        self._streaks.clear()
        self._fruitless = ""

    async def buy(self, request: Asked, key: str) -> Completion:
        """Pay for a completion, with retries; its `problem` says why the server gives none for this request."""
        if not self._shown:
            async with self._first:
                if not self._shown:
                    try:
                        return await self._buy(request, key)
                    finally:
                        self._shown = True
        return await self._buy(request, key)

    async def _buy(self, request: Asked, key: str) -> Completion:
        if self._fruitless:
            return Completion(problem=f"unreadable: not asked ({self._fruitless})")
        try:
            completion = await self._send_as_taken(request, key, lambda: self._service.body(request, self._probe))
        except RequestRejected as rejection:
            self._streaks[ServerRefusal] = 0  # key and model are in order
            if rejection.code != "content_filter" and not self._answered:  # which is about this one text
                self._count(rejection, NEVER, str(rejection), NoAnswers)
            return Completion(problem=rejected(rejection.code, str(rejection)))
        except ServerRefusal as refusal:
            if not self._health.successes:
                raise
            self._count(refusal, STREAK, str(refusal))
            return Completion(problem=f"unreadable: {refusal}")
        except RetriesExhausted as failure:
            return Completion(problem=f"unreadable: {failure}")
        except UnusableAnswer as answer:
            if not self._health.successes:
                reason = answer.verdict or f"{self._endpoint.address}: {answer}"
                self._count(answer, 1 if answer.verdict else NEVER, reason)
            else:
                self._count_fruitless(answer)
            return Completion(problem=f"unreadable: {answer}")
        self._answered += 1
        self._streaks.clear()
        return completion

    def _count(self, error: Exception, most: int, reason: str, end: type[EndpointError] = EndpointError) -> None:
        """Count a request without an answer; raise `end` if that makes `most` of its kind in a row."""
        self._streaks[type(error)] += 1
        if self._streaks[type(error)] >= most:
            raise end(reason)

    def _count_fruitless(self, answer: UnusableAnswer) -> None:
        """Count a request that was paid for nothing; after too many in a row no more are sent."""
        self._streaks[UnusableAnswer] += 1
        if self._streaks[UnusableAnswer] >= FRUITLESS and not self._fruitless:
            self._fruitless = f"{FRUITLESS} requests in a row gave nothing that can be used"
            self._say(f"{self._endpoint.address}: {self._fruitless} ({answer}); the rest is not asked")

    async def _send_as_taken(self, request: Asked, key: str, build: Callable[[], Any]) -> Completion:
        """Send a body, and again with what a rejection taught of how this server wants it."""
        for _ in range(LESSONS):
            lessons = self._service.lessons
            asked = await build()
            try:
                return await self._send_with_retries(request, key, json.dumps(asked).encode())
            except RequestRejected as rejection:
                if self._service.lessons == lessons and not self._service.learn(rejection, asked, request):
                    raise
        raise RequestRejected(f"{self._endpoint.address} rejects the request, however it is put")

    async def _send_with_retries(self, request: Asked, key: str, body: bytes) -> Completion:
        """Send until there is a completion; it is on disk, with its bill, when this returns."""
        seen, tries, unusable = self._health.successes, 0, list[str]()
        for attempt in itertools.count():
            retry_after = 0.0
            try:
                return await self._call(request, key, body)
            except UnusableAnswer as answer:
                unusable.append(str(answer))
                if answer.verdict and not self._health.successes:
                    raise
                if len(unusable) >= UNUSABLE or len(set(unusable)) < len(unusable):
                    raise
            except RetryableError as failure:
                tries += not failure.busy
                self._raise_if_down(failure)
                if tries >= TRIES and self._health.successes > seen:
                    raise RetriesExhausted(f"the server failed {tries} times on this request ({failure})") from failure
                retry_after = failure.retry_after or 0.0
            wait = random.uniform(0.5, 1.0) * min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(attempt, 10))
            await asyncio.sleep(max(wait, min(retry_after, MINUTE_S)))
        raise AssertionError("unreachable")

    def _raise_if_down(self, failure: RetryableError) -> None:
        """Raise if the server cannot be reached at all, or has done nothing but fail for long enough."""
        address = self._endpoint.address
        if failure.unreachable and not self._health.successes:
            raise NoAnswers(
                f"no server answers at {address}: {failure}; start it, or check {self._endpoint.variables}_BASE_URL"
            )
        if (reason := self._health.down()) is not None:
            raise ServerError(f"gave up on {address}: {reason}; replies that came are kept: rerun later to resume")

    async def _call(self, request: Asked, key: str, body: bytes) -> Completion:
        """One attempt. Waiting for a place, for a rate limit and for the budget does not count as the call's time."""
        await self._window.enter()
        seconds, overload, turn = None, False, 0
        clock = asyncio.get_running_loop().time
        try:
            need = self._service.need(request)
            turn = await self._turn(need)
            entry = await self._account.open(request, key)
            started = clock()
            try:
                completion = await self._send(body, request.sample, turn)
            except BaseException as error:
                self._book_failure(entry, error)
                if isinstance(error, RetryableError):
                    seconds, overload = clock() - started, True
                    self._fail(error)
                raise
            seconds = clock() - started
            self._health.success()
            usage, call = self._account.paid(entry, completion)
            self._tokens.give_back(max(0.0, need.of("tokens") - usage.input_tokens - usage.output_tokens))
            written = self._outbox.add(Bought(key, completion, call))
        finally:
            self._quotas.leave(turn)
            self._window.abandon() if seconds is None else self._window.leave(seconds, overload)
        await written  # so that a kill never loses more calls than may be in flight, and none whose reply was used
        return Completion(completion, usage)

    def _book_failure(self, entry: Entry[Asked], error: BaseException) -> None:
        """Book a call that gave no completion: as it says, in full if its fate is unknown, or not at all."""
        call = None
        if isinstance(error, UnusableAnswer):
            _, call = self._account.paid(entry, error.answer)
        elif isinstance(error, RetryableError | EndpointError) and not getattr(error, "sent", False):
            self._account.free(entry)
        else:
            call = self._account.unknown(entry, read_alone=isinstance(error, RequestRejected))
        if call is not None:
            self._outbox.add(Bought(call=call))

    def _fail(self, error: RetryableError) -> None:
        if error.loading and not self._health.failures:
            self._say(f"{self._endpoint.address} is loading its model: waiting for it")
        self._health.failure(str(error), retry_after=error.retry_after, loading=error.loading)

    async def _turn(self, need: Need) -> int:
        """Wait until the server's Retry-After and all limits allow one more call; its number among them."""
        while (pause := self._health.pause()) > 0:
            await asyncio.sleep(pause)
        if (wait := max(self._requests.take(1), self._tokens.take(need.of("tokens")))) > 0:
            await asyncio.sleep(wait)
        number = await self._quotas.enter(need)
        if self._stopped():
            self._quotas.leave(number)
            raise asyncio.CancelledError
        return number

    async def _send(self, body: bytes, sample: int, turn: int) -> dict[str, Any]:
        task = asyncio.current_task()
        assert task is not None
        self.on_wire.add(task)
        try:
            return await self._transport.send(body, sample, functools.partial(self._quotas.hear, turn))
        finally:
            self.on_wire.discard(task)

    async def _probe(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send a probe; it is paid for like any call, and never cached, because servers change."""

        async def build() -> dict[str, Any]:
            return self._service.shape(body)

        return (await self._send_as_taken(self._service.probe(body), "", build)).body


class RetriesExhausted(Exception):
    """A request that the server keeps failing on while it answers others."""

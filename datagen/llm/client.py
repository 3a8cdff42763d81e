"""The client of a server for synchronous code: requests in, replies out, in order or as they come.

All calls run at once in an event loop in a thread of its own. Raises EndpointError for what the user must fix and
ServerError or BudgetSpent for what a later rerun resumes from; failures of content are replies with an `error`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import queue
import threading
from collections.abc import Callable, Coroutine, Generator, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from datagen.llm.accounts.cache import Cache
from datagen.llm.accounts.money import Budget, Ledger
from datagen.llm.accounts.prices import Prices
from datagen.llm.chat import Chat
from datagen.llm.endpoint import Endpoint
from datagen.llm.engine import Engine
from datagen.llm.messages import Reply, Request
from datagen.llm.providers import Transport, provider_of
from datagen.llm.service import Asked, Given, Service

T = TypeVar("T")


class Connection(Generic[Asked, Given]):
    """Asks one endpoint for one kind of thing while it is open; one `ask` or `stream` at a time.

    A budget must be of the same ledger. What an endpoint's provider has to serve is served for as long. `service` and
    `connect` are called in the event loop, with the endpoint as it is served.
    """

    def __init__(
        self,
        service: Callable[[Endpoint, Callable[[str], None]], Service[Asked, Given]],
        connect: Callable[[Endpoint], Transport],
        endpoint: Endpoint,
        cache: Cache,
        ledger: Ledger,
        budget: Budget | None = None,
        say: Callable[[str], None] = lambda line: None,
        prices: Prices | None = None,
    ) -> None:
        self._endpoint, self._cache, self._ledger, self._budget, self._say = endpoint, cache, ledger, budget, say
        self._prices, self._service, self._connect = prices, service, connect
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            provider = provider_of(self._endpoint.base_url)
            served = stack.enter_context(provider.serve(self._endpoint, self._say))
            endpoint = dataclasses.replace(served, parameters=self._endpoint.parameters)
            prices = self._prices or Prices.load(base_url=endpoint.base_url)
            self._loop = asyncio.new_event_loop()
            thread = threading.Thread(target=self._loop.run_forever, name="datagen-llm", daemon=True)
            thread.start()
            stack.callback(self._loop.close)
            stack.callback(thread.join)
            stack.callback(self._loop.call_soon_threadsafe, self._loop.stop)

            async def make() -> Engine[Asked, Given]:
                service, transport = self._service(endpoint, self._say), self._connect(endpoint)
                return Engine(endpoint, transport, service, self._cache, self._ledger, self._budget, prices, self._say)

            self._engine = self._run(make()).result()
            stack.callback(lambda: self._run(self._engine.close()).result())
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def ask(
        self, requests: Sequence[Asked], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> list[Given]:
        """The replies in the order of the requests; `progress` is called with how many of how many are there."""
        replies: dict[int, Given] = {}
        for index, reply in self.stream(requests):
            replies[index] = reply
            progress(len(replies), len(requests))
        return [replies[index] for index in range(len(requests))]

    def stream(self, requests: Sequence[Asked]) -> Generator[tuple[int, Given]]:
        """(index, reply) as they are there and safely stored. Closing the generator early stops the calls."""
        ready: queue.SimpleQueue[list[tuple[int, Given]] | None] = queue.SimpleQueue()
        work = self._run(self._engine.work(requests, ready.put))
        work.add_done_callback(lambda _: ready.put(None))
        try:
            while (batch := ready.get()) is not None:
                yield from batch
        finally:  # reached with the work undone on Ctrl-C, or if the caller wants no more
            work.cancel()
            self._run(self._engine.idle()).result()
        work.result()

    def _run(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)


class Client(Connection[Request, Reply]):
    """Asks one endpoint for chat completions (`with Client(…) as client`)."""

    def __init__(
        self,
        endpoint: Endpoint,
        cache: Cache,
        ledger: Ledger,
        budget: Budget | None = None,
        say: Callable[[str], None] = lambda line: None,
        prices: Prices | None = None,
    ) -> None:
        super().__init__(
            Chat,
            lambda served: provider_of(served.base_url).connect(served),
            endpoint, cache, ledger, budget, say, prices,
        )  # fmt: skip

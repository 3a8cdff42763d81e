"""From the environment to a function that asks an LLM: endpoints, cache, ledger, budget and clients of one run.

Everything is opened when a writer needs it and closed with it; importing this module imports no client.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.errors import EndpointError
from datagen.llm import LEDGER, LlmOptions
from datagen.llm.fallback import Fallback, Stream
from datagen.llm.messages import Ask, Reply, Request

if TYPE_CHECKING:
    from datagen.llm.accounts.cache import Cache
    from datagen.llm.accounts.money import Budget, Ledger
    from datagen.llm.endpoint import Endpoint

BATCHES = "batches"
FALLBACK_BATCHES = "batches-fallback"


@contextlib.contextmanager
def connect(
    model: str, options: LlmOptions, parameters: Mapping[str, Any] | None = None, *, fallback: bool = True
) -> Iterator[Ask]:
    """Asks the LLM of a recipe's `llm.model` and the environment; EndpointError if they name none that can be used.

    `parameters` go into the body of every call as they are (a recipe's `llm.parameters`). Without `fallback` the
    second model that the environment may name is never asked: what two models say of images is not one score.
    """
    from datagen.llm.accounts.cache import Cache, default_path
    from datagen.llm.accounts.money import Ledger
    from datagen.llm.environment import fallback_of, from_environment

    first = dataclasses.replace(from_environment(model), parameters=dict(parameters or {}))
    second = fallback_of(first) if fallback else None
    if second is not None and options.batch:
        raise EndpointError(
            "a fallback model is not asked through the Batch API, whose calls may still be running when it would be: "
            "leave out --batch, or DATAGEN_LLM_FALLBACK_MODEL"
        )
    with (
        contextlib.closing(Cache(default_path())) as cache,
        contextlib.closing(Ledger(options.folder / LEDGER)) as ledger,
        contextlib.ExitStack() as stack,
    ):
        budget = _budget(first, ledger, options)
        stream = stack.enter_context(_open(first, cache, ledger, budget, options, options.folder / BATCHES))
        if second is not None:
            stream = _with_fallback(stream, first, second, cache, ledger, options, stack)

        def ask(requests: Sequence[Request]) -> list[Reply]:
            replies: dict[int, Reply] = {}
            for index, reply in stream(requests):
                replies[index] = reply
                options.progress("LLM calls", len(replies), len(requests))
            return [replies[index] for index in range(len(requests))]

        yield ask


def _with_fallback(
    first: Stream, asked: Endpoint, second: Endpoint, cache: Cache, ledger: Ledger, options: LlmOptions,
    stack: contextlib.ExitStack,
) -> Fallback:  # fmt: skip
    """The stream of both models; that the second has a price is seen before anything is sent."""
    from datagen.llm.accounts.cache import key

    budget = _budget(second, ledger, options)
    # Replies are kept by the name under which a model is served, bills by the one that its budget knows.
    first_name, second_name = _served_as(asked), _served_as(second)
    answered = ledger.keys(second.model, second_name)

    def opened() -> Stream:
        folder = options.folder / FALLBACK_BATCHES
        return stack.enter_context(_open(second, cache, ledger, budget, options, folder))

    return Fallback(
        first,
        opened,
        lambda request: key(request, second_name, second.parameters) in answered,
        lambda request: cache.get(key(request, first_name, asked.parameters)) is not None,
        options.say,
    )


def _served_as(endpoint: Endpoint) -> str:
    from datagen.llm.providers import provider_of

    return provider_of(endpoint.base_url).served_as(endpoint)


def _budget(endpoint: Endpoint, ledger: Ledger, options: LlmOptions) -> Budget | None:
    from datagen.llm.accounts.money import Budget, Prices

    if options.max_cost is None:
        return None
    return Budget(ledger, Prices.load(base_url=endpoint.base_url), endpoint.model, options.max_cost)


@contextlib.contextmanager
def _open(
    endpoint: Endpoint, cache: Cache, ledger: Ledger, budget: Budget | None, options: LlmOptions, folder: Path
) -> Iterator[Stream]:
    """The replies of one endpoint, as they come; by batches in `folder` all at once."""
    from datagen.llm.batch import ask as batch
    from datagen.llm.client import Client

    if options.batch:
        yield lambda requests: iter(
            list(enumerate(batch.ask(endpoint, cache, ledger, budget, requests, folder, options.say)))
        )
        return
    with Client(endpoint, cache, ledger, budget, say=options.say) as client:
        yield client.stream

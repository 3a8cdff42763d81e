"""From the environment to a function that asks an LLM: endpoint, cache, ledger, budget and client of one run.

Everything is opened when a writer needs it and closed with it; importing this module imports no client.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datagen.llm import LEDGER, LlmOptions
from datagen.llm.messages import Ask, Reply, Request

BATCHES = "batches"


@contextlib.contextmanager
def connect(model: str, options: LlmOptions, parameters: Mapping[str, Any] | None = None) -> Iterator[Ask]:
    """Asks the LLM of a recipe's `llm.model` and the environment; EndpointError if they name none that can be used.

    `parameters` go into the body of every call as they are (a recipe's `llm.parameters`).
    """
    from datagen.llm.accounts.cache import Cache, default_path
    from datagen.llm.accounts.money import Budget, Ledger, Prices
    from datagen.llm.batch import ask as batch
    from datagen.llm.client import Client
    from datagen.llm.environment import from_environment

    endpoint = dataclasses.replace(from_environment(model), parameters=dict(parameters or {}))
    with (
        contextlib.closing(Cache(default_path())) as cache,
        contextlib.closing(Ledger(options.folder / LEDGER)) as ledger,
    ):
        prices = Prices.load(base_url=endpoint.base_url)
        budget = None if options.max_cost is None else Budget(ledger, prices, endpoint.model, options.max_cost)
        if options.batch:
            folder = options.folder / BATCHES
            yield lambda requests: batch.ask(endpoint, cache, ledger, budget, requests, folder, options.say)
            return
        with Client(endpoint, cache, ledger, budget, say=options.say) as client:

            def ask(requests: Sequence[Request]) -> list[Reply]:
                return client.ask(requests, progress=lambda done, total: options.progress("LLM calls", done, total))

            yield ask

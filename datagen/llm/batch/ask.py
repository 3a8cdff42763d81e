"""OpenAI's Batch API as a way to ask: half the price, within a day, and no batch is ever paid twice.

A batch is written down in `folder` under a name of its own before anything is sent, and carries that name at the
server: whatever kills us, the next call finds it there and resumes. What came is in cache and ledger when `ask`
returns or raises. One process at a time works in a folder.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.errors import EndpointError, RequestRejected, ServerError
from datagen.llm import words
from datagen.llm.accounts.cache import Cache, key
from datagen.llm.accounts.money import Budget, Call, Ledger, Prices
from datagen.llm.accounts.prices import FREE
from datagen.llm.batch import journal as batch_journal
from datagen.llm.batch.journal import Journal, Line, Note
from datagen.llm.batch.server import BatchServer
from datagen.llm.endpoint import Endpoint
from datagen.llm.finish import Completion, corrected, finish, rejected
from datagen.llm.messages import Reply, Request, Usage
from datagen.llm.providers import provider_of
from datagen.llm.typed import structured

if TYPE_CHECKING:
    from openai.types import Batch

TRIES = 3  # batches from which a request may come back without an answer
CHUNK = 500  # completions a transaction


def ask(
    endpoint: Endpoint,
    cache: Cache,
    ledger: Ledger,
    budget: Budget | None,
    requests: Sequence[Request],
    folder: Path,
    say: Callable[[str], None],
) -> list[Reply]:
    """The replies in order, from the cache or by batches; the correction rounds are batches too.

    Raises EndpointError if the server has no Batch API or refuses us, ServerError if it keeps failing, BudgetSpent;
    in each case everything that came is kept, and a batch in progress is resumed by the next call.
    """
    if not (provider := provider_of(endpoint.base_url)).batches:
        raise EndpointError(f"{provider.name} has no Batch API and nothing to save: run without --batch")
    with BatchServer(endpoint, say) as server:
        fetcher = _Fetcher(endpoint, cache, ledger, budget, Journal(folder, endpoint), server)
        replies = list[Reply]()
        corrections: dict[int, Request] = {}
        for request, completion in zip(requests, fetcher.fetch(requests), strict=True):
            reply, correction = finish(request, completion, endpoint.model)
            if correction is not None:
                corrections[len(replies)] = correction
            replies.append(reply)
        for index, completion in zip(corrections, fetcher.fetch(list(corrections.values())), strict=True):
            replies[index] = corrected(requests[index], replies[index], completion)
    return replies


class _Fetcher:
    """Sends what is missing in the cache, as batches, until it is there."""

    def __init__(
        self,
        endpoint: Endpoint,
        cache: Cache,
        ledger: Ledger,
        budget: Budget | None,
        journal: Journal,
        server: BatchServer,
    ) -> None:
        self._endpoint, self._cache, self._ledger, self._budget = endpoint, cache, ledger, budget
        self._journal, self._server = journal, server
        self._prices = Prices.load(base_url=endpoint.base_url)
        self._price = budget.price if budget else self._prices.of(endpoint.model) or FREE
        self._bought: dict[str, Usage] = {}  # by key; each is handed out once
        self._refused: dict[str, str] = {}  # requests that the server will not take, and why
        self._trouble = "no reason given"  # why the last unanswered request was not answered

    def fetch(self, requests: Sequence[Request]) -> list[Completion]:
        """A completion for each request, or the reason why the server will not give one."""
        for note in self._journal.notes():
            self._finish(note)
        keys = [key(request, self._endpoint.model) for request in requests]
        missing = {name: r for name, r in zip(keys, requests, strict=True) if self._cache.get(name) is None}
        tries: collections.Counter[str] = collections.Counter()
        while missing:
            self._round(missing, tries)
            missing = {
                name: request
                for name, request in missing.items()
                if name not in self._refused and self._cache.get(name) is None
            }
        completions = [self._completion(name) for name in keys]
        hits = collections.Counter(
            request.stage for request, found in zip(requests, completions, strict=True) if found.cached
        )
        for stage, count in hits.items():
            self._ledger.count_cached(stage, count)
        return completions

    def _completion(self, name: str) -> Completion:
        """What there is of a request when no batch of it is in progress any more."""
        if (body := self._cache.get(name)) is None:
            return Completion(problem=self._refused.get(name))
        usage = self._bought.pop(name, None)
        return Completion(body, usage or Usage(), cached=usage is None)

    def _round(self, missing: dict[str, Request], tries: collections.Counter[str]) -> None:
        """Send as many of the missing requests as the budget takes now, and wait for their batches."""
        if exhausted := [name for name in missing if tries[name] >= TRIES]:
            raise ServerError(
                f"{len(exhausted)} requests came back unanswered from {TRIES} batches ({self._trouble}): what came is "
                "kept, rerun to ask these again"
            )
        notes = []
        for stage in dict.fromkeys(request.stage for request in missing.values()):
            lines = (self._line(name, request) for name, request in missing.items() if request.stage == stage)
            for part in batch_journal.parts(lines):
                if affordable := self._affordable(part, missing):
                    cost = sum(self._price.most(missing[name], batch=True) for name, _ in affordable)
                    notes.append(note := self._journal.begin(stage, affordable, cost))
                    self._ledger.reserve(stage, cost, None, note.name, note.requests)
                    tries.update(name for name, _ in affordable)
        if not notes and self._budget is not None:
            raise self._budget.spent(min(self._price.most(request, batch=True) for request in missing.values()))
        for note in [self._submit(note) for note in notes]:
            self._finish(note)

    def _line(self, name: str, request: Request) -> Line:
        # The Batch API is OpenAI's, which takes JSON schemas; a probe would cost a call at the full price.
        dialect = structured.Dialect.TEXT if request.reply is None else structured.Dialect.SCHEMA
        return batch_journal.line(name, structured.body(request, self._endpoint.model, dialect))

    def _affordable(self, part: list[Line], requests: dict[str, Request]) -> list[Line]:
        """The first lines of a part, as many as the budget has room for now."""
        if self._budget is None:
            return part
        room = self._budget.max_cost - self._ledger.committed()
        costs = itertools.accumulate(self._price.most(requests[name], batch=True) for name, _ in part)
        return [line for line, cost in zip(part, costs, strict=True) if cost <= room]

    def _submit(self, note: Note) -> Note:
        """Submit a batch, unless it is submitted already; its money is reserved before."""
        if not note.submitting:  # killed between note and reservation
            self._ledger.reserve(note.stage, note.cost, None, note.name, note.requests)
        try:
            return self._server.submit(note, self._journal)
        except RequestRejected:
            self._settle(note, [])
            raise

    def _finish(self, note: Note) -> None:
        """Wait for a batch and put what came of it into cache and ledger."""
        note = self._submit(note)
        batch = self._server.wait(note)
        if batch.errors and batch.errors.data:
            self._trouble = self._words(str(batch.errors.data[0].message))
        keys, calls = self._journal.keys(note), list[Call]()
        rows: list[tuple[str, dict[str, Any]]] = []
        for name, completion in self._answers(note, batch, keys):
            # What does not say what it used may have used all that it was allowed.
            share = Usage(cost=note.cost / note.requests)
            usage = self._prices.usage(note.model, completion, batch=True) or share
            calls.append(Call(note.stage, name, note.model, usage))
            rows.append((name, completion))
            if len(rows) == CHUNK:
                self._cache.put_many(rows)
                rows.clear()
        self._cache.put_many(rows)
        self._settle(note, calls)

    def _answers(self, note: Note, batch: Batch, keys: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The completions of a batch by key, each once; what was refused or failed is remembered."""
        for line in self._server.download(batch, self._journal.upload(note).with_suffix(".part")):
            name, answer = line.get("custom_id"), line.get("response") or {}
            if name not in keys:
                continue
            status, body = answer.get("status_code"), answer.get("body")
            if status == 200 and isinstance(body, dict) and isinstance(body.get("choices"), list) and body["choices"]:
                keys.discard(name)
                yield name, body
                continue
            error = line.get("error") or (body.get("error") if isinstance(body, dict) else None) or {}
            reason = self._words(str(error.get("message") or error.get("code") or f"HTTP {status}"))
            self._trouble = reason
            if status in (400, 413, 422):
                self._refused[name] = rejected(str(error.get("code")), f"the server rejects it ({reason})")

    def _words(self, text: str) -> str:
        return words.line(text, self._endpoint.api_key)

    def _settle(self, note: Note, calls: list[Call]) -> None:
        """Book a batch, once, and forget it."""
        if (reservation := self._ledger.find(note.name)) is not None and self._ledger.settle(reservation, calls):
            self._bought |= {call.key: call.usage for call in calls}
        self._journal.remove(note)

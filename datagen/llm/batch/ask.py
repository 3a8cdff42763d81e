"""OpenAI's Batch API as a way to ask: half the price, within a day, and no batch is ever paid twice.

A batch is written down in `folder` under a name of its own before anything is sent, and carries that name at the
server: whatever kills us, the next call finds it there and goes on. What came is in cache and ledger when `ask`
returns or raises. One process at a time works in a folder.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.errors import EndpointError, RequestRejected, ServerError
from datagen.llm.accounts.cache import Cache, key
from datagen.llm.accounts.money import Budget, Call, Ledger, Prices
from datagen.llm.accounts.prices import FREE
from datagen.llm.batch import journal as batch_journal
from datagen.llm.batch.journal import Journal, Line, Note
from datagen.llm.batch.server import BatchServer
from datagen.llm.endpoint import Endpoint
from datagen.llm.messages import Reply, Request, Usage
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
    """The replies in order, from the cache or by batches; unreadable ones are corrected once, in batches too.

    Raises EndpointError if the server has no Batch API or refuses us, ServerError if it keeps failing, BudgetSpent;
    in each case everything that came is kept, and a batch on its way is taken up by the next call.
    """
    if endpoint.local is not None:
        raise EndpointError("a local model has no Batch API and nothing to save: run without --batch")
    with BatchServer(endpoint, say) as server:
        desk = _Desk(endpoint, cache, ledger, budget, Journal(folder, endpoint), server)
        first = desk.fetch(requests)
        again = {}
        for index, (request, got) in enumerate(zip(requests, first, strict=True)):
            if got.completion is not None and request.reply is not None:
                outcome = structured.read(got.completion, request)
                if outcome.error is not None and outcome.error.startswith("unreadable: "):
                    again[index] = structured.correction(request, outcome.text, outcome.error)
        second = dict(zip(again, desk.fetch(list(again.values())), strict=True))
    return [
        _reply(endpoint, request, got, second.get(index))
        for index, (request, got) in enumerate(zip(requests, first, strict=True))
    ]


@dataclasses.dataclass(frozen=True)
class _Got:
    """A completion, or why the server will not give one; `usage` is None if it was in the cache."""

    completion: dict[str, Any] | None
    usage: Usage | None = None
    problem: str | None = None


def _reply(endpoint: Endpoint, request: Request, first: _Got, second: _Got | None) -> Reply:
    """A request's reply from its completion and that of its correction round."""
    if first.completion is None:
        return Reply(None, "", endpoint.model, error=first.problem)
    better = second if second is not None and second.completion is not None else first
    outcome = structured.read(better.completion or {}, request)
    paid = [got.usage for got in (first, second) if got is not None and got.usage is not None]
    usage = Usage(*(sum(values) for values in zip(*map(dataclasses.astuple, paid), strict=True))) if paid else Usage()
    model, request_id = (structured.line(str(first.completion.get(name) or "")) for name in ("model", "id"))
    return Reply(outcome.value, outcome.text, model or endpoint.model, request_id, usage, not paid, outcome.error)


class _Desk:
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

    def fetch(self, requests: Sequence[Request]) -> list[_Got]:
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
        got = [_Got(self._cache.get(name), self._bought.pop(name, None), self._refused.get(name)) for name in keys]
        hits = collections.Counter(r.stage for r, g in zip(requests, got, strict=True) if g.completion and not g.usage)
        for stage, count in hits.items():
            self._ledger.count_cached(stage, count)
        return got

    def _round(self, missing: dict[str, Request], tries: collections.Counter[str]) -> None:
        """Send as many of the missing requests as the budget takes now, and wait for their batches."""
        if worn := [name for name in missing if tries[name] >= TRIES]:
            raise ServerError(
                f"{len(worn)} requests came back unanswered from {TRIES} batches ({self._trouble}): what came is "
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
        """Hand a batch in, unless it is already; its money is reserved before."""
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
            self._trouble = self._server.clean(str(batch.errors.data[0].message))
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
            words = self._server.clean(str(error.get("message") or error.get("code") or f"HTTP {status}"))
            self._trouble = words
            if status in (400, 413, 422):
                code = str(error.get("code"))
                refused = "content" in code and ("filter" in code or "policy" in code)
                self._refused[name] = f"{'refused' if refused else 'unreadable'}: the server rejects it ({words})"

    def _settle(self, note: Note, calls: list[Call]) -> None:
        """Book a batch, once, and forget it."""
        if (reservation := self._ledger.find(note.name)) is not None and self._ledger.settle(reservation, calls):
            self._bought |= {call.key: call.usage for call in calls}
        self._journal.remove(note)

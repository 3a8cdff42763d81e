"""OpenAI's Batch API as a way to ask: half the price, within a day, and no batch is ever paid twice.

A batch is written down in `folder` under a name of its own before anything is sent, and carries that name at the
server: whatever kills us, the next call finds it there and resumes. What came is in cache and ledger when `ask`
returns or raises. One process at a time works in a folder.
"""

from __future__ import annotations

import collections
import itertools
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.errors import EndpointError, RequestRejected, ServerError
from datagen.llm import words
from datagen.llm.accounts.cache import Cache, key
from datagen.llm.accounts.money import Budget, Call, Ledger, Prices
from datagen.llm.accounts.prices import FREE
from datagen.llm.batch import journal as batch_journal
from datagen.llm.batch import server as batch_server
from datagen.llm.batch.journal import Journal, Line, Note
from datagen.llm.batch.server import BatchServer
from datagen.llm.endpoint import Endpoint
from datagen.llm.finish import Completion, corrected, finish, rejected
from datagen.llm.messages import Reply, Request, Usage
from datagen.llm.providers import provider_of
from datagen.llm.typed import structured
from datagen.llm.wire.answers import error_of

if TYPE_CHECKING:
    from openai.types import Batch

# "token_limit_exceeded", "Enqueued token limit reached", "too many batches in progress".
_NO_ROOM = re.compile(r"token_limit_exceeded|enqueued|too many (?:batches|requests)|batch(?:es)? limit", re.IGNORECASE)
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
        fetcher = _Fetcher(endpoint, cache, ledger, budget, Journal(folder, endpoint), server, say)
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
        say: Callable[[str], None],
    ) -> None:
        self._endpoint, self._cache, self._ledger, self._budget = endpoint, cache, ledger, budget
        self._journal, self._server, self._say = journal, server, say
        self._prices = Prices.load(base_url=endpoint.base_url)
        self._price = budget.price if budget else self._prices.of(endpoint.model) or FREE
        self._bought: dict[str, Usage] = {}  # by key; each is handed out once
        self._refused: dict[str, str] = {}  # requests that the server will not take, and why
        self._unusable = set[str]()  # requests whose answer was paid for and no use, once
        self._trouble = "no reason given"  # why the last unanswered request was not answered
        self._most = endpoint.batch_requests  # requests in a batch
        self._one_by_one = False  # for a server that takes no more of them at once
        self._waited = 0.0  # seconds, for a server that has room for no request at all

    def fetch(self, requests: Sequence[Request]) -> list[Completion]:
        """A completion for each request, or the reason why the server will not give one."""
        for note in self._journal.notes():
            self._finish(note)
        keys = [key(request, self._endpoint.model, self._endpoint.parameters) for request in requests]
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
        notes = self._notes(missing, tries)
        if not self._one_by_one:
            notes = iter([self._submit(note) for note in list(notes)])
        begun = limited = False
        for note in notes:
            begun = True
            keys = self._journal.keys(note)
            if self._finish(note):
                tries.subtract(keys)  # it was not the requests' fault
                self._give_way(note)
                limited = True
                if self._one_by_one:
                    break
        if limited:
            self._one_by_one = True
        elif begun:
            self._waited = 0.0
        elif self._budget is not None:
            raise self._budget.spent(min(self._price.most(request, batch=True) for request in missing.values()))

    def _notes(self, missing: dict[str, Request], tries: collections.Counter[str]) -> Iterator[Note]:
        """Batches of the missing requests, noted and their money put aside; as many as the budget takes."""
        for stage in dict.fromkeys(request.stage for request in missing.values()):
            lines = [self._line(name, request) for name, request in missing.items() if request.stage == stage]
            for part in batch_journal.parts(lines, self._most):
                if affordable := self._affordable(part, missing):
                    cost = sum(self._price.most(missing[name], batch=True) for name, _ in affordable)
                    note = self._journal.begin(stage, affordable, cost)
                    self._ledger.reserve(stage, cost, None, note.name, note.requests)
                    tries.update(name for name, _ in affordable)
                    yield note

    def _line(self, name: str, request: Request) -> Line:
        # The Batch API is OpenAI's, which takes JSON schemas; a probe would cost a call at the full price.
        dialect = structured.Dialect.TEXT if request.reply is None else structured.Dialect.SCHEMA
        body = structured.body(request, self._endpoint.model, dialect)
        return batch_journal.line(name, {**body, **self._endpoint.parameters})

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

    def _finish(self, note: Note) -> bool:
        """Wait for a batch and put what came of it into cache and ledger; True if there was no room for it."""
        note = self._submit(note)
        batch = self._server.wait(note)
        faults = batch.errors.data or [] if batch.errors else []
        if faults:
            self._trouble = self._words(str(faults[0].message or faults[0].code))
        keys, calls = self._journal.keys(note), list[Call]()
        rows: list[tuple[str, dict[str, Any]]] = []
        try:
            for name, answer, usable in self._answers(note, batch, keys):
                usage = self._prices.usage(note.model, answer, batch=True)
                # What does not say what it used may have used all that it was allowed.
                most = Usage(cost=note.cost / note.requests)
                calls.append(Call(note.stage, name, note.model, usage or most, unsure=usage is None))
                rows += [(name, answer)] if usable else []
                if len(rows) == CHUNK:
                    self._cache.put_many(rows)
                    rows.clear()
        finally:  # a download that broke off: what came is kept, and the batch stays noted
            self._cache.put_many(rows)
        self._settle(note, calls)
        return any(_NO_ROOM.search(f"{fault.code} {fault.message}") for fault in faults)

    def _give_way(self, note: Note) -> None:
        """Make the next batches smaller, for a server without room for one of this size; wait if none is smaller."""
        if self._waited > batch_server.PATIENCE_S:
            raise ServerError(f"the server takes no batch ({self._trouble}): what came is kept, rerun later")
        if note.requests > 1:
            self._most = min(self._most or note.requests, max(1, note.requests // 2))
            self._say(f"the server has no room for {note.requests} requests at once: {self._most} are submitted next")
        else:
            self._waited += batch_server.LONGEST_WAIT_S
            time.sleep(batch_server.LONGEST_WAIT_S)

    def _answers(self, note: Note, batch: Batch, keys: set[str]) -> Iterator[tuple[str, Any, bool]]:
        """The paid answers of a batch by key, each once, and whether it is a completion; the rest is remembered."""
        for line in self._server.download(batch, self._journal.upload(note).with_suffix(".part")):
            name, response = line.get("custom_id"), line.get("response")
            if name not in keys:
                continue
            response = response if isinstance(response, dict) else {}
            status, body = response.get("status_code"), response.get("body")
            if status == 200 and isinstance(body, dict):
                keys.discard(name)
                choices = body.get("choices")
                usable = isinstance(choices, list) and bool(choices) and isinstance(choices[0], dict)
                if not usable:
                    self._count_unusable(name)
                yield name, body, usable
                continue
            message, code = error_of(line.get("error") or body)
            self._trouble = reason = self._words(message or code or f"HTTP {status}")
            if status in (400, 413, 422):
                self._refused[name] = rejected(code, f"the server rejects it ({reason})")

    def _count_unusable(self, name: str) -> None:
        """A second answer that was paid for and is no completion is the last."""
        self._trouble = "an answer without choices, which is no chat completion"
        if name in self._unusable:
            self._refused[name] = f"unreadable: {self._trouble}"
        self._unusable.add(name)

    def _words(self, text: str) -> str:
        return words.line(text, *self._endpoint.secrets())

    def _settle(self, note: Note, calls: list[Call]) -> None:
        """Book a batch, once, and forget it."""
        if (reservation := self._ledger.find(note.name)) is not None and self._ledger.settle(reservation, calls):
            self._bought |= {call.key: call.usage for call in calls}
        self._journal.remove(note)

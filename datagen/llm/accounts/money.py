"""What calls cost: a dated price table, a ledger of what was spent, and a budget that is never exceeded.

Money is US dollars. A budget reserves the most that a call can cost before it is sent, in the ledger's own file, so
that neither other threads nor kill -9 can make it forget; a call whose fate is unknown counts as fully spent.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from datagen.errors import BudgetSpent, RunError, UserError
from datagen.llm.accounts.database import Damaged, Database, read_only
from datagen.llm.accounts.prices import HOW_TO_PRICE
from datagen.llm.accounts.prices import Price as Price
from datagen.llm.accounts.prices import Prices as Prices
from datagen.llm.messages import Usage

VERSION = 1

# `spent` repeats the sum of calls.cost, so that a reservation need not add up a million rows.
_SCHEMA = """
CREATE TABLE calls (id INTEGER PRIMARY KEY, time REAL NOT NULL, stage TEXT NOT NULL, key TEXT NOT NULL,
                    model TEXT NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
                    cost REAL NOT NULL, unsure INTEGER NOT NULL);
CREATE TABLE reserved (id INTEGER PRIMARY KEY, time REAL NOT NULL, stage TEXT NOT NULL, name TEXT NOT NULL,
                       calls INTEGER NOT NULL, cost REAL NOT NULL);
CREATE TABLE cached (stage TEXT PRIMARY KEY, calls INTEGER NOT NULL);
CREATE TABLE spent (cost REAL NOT NULL);
INSERT INTO spent VALUES (0)
"""

_TOTALS = """
SELECT stage, sum(calls), sum(cached), sum(unsure), sum(input_tokens), sum(output_tokens), sum(cost), sum(at_most)
FROM (
    SELECT stage, count(*) calls, 0 cached, 0 unsure, sum(input_tokens) input_tokens, sum(output_tokens) output_tokens,
           sum(cost) cost, 0 at_most FROM calls WHERE NOT unsure GROUP BY stage
    UNION ALL SELECT stage, 0, 0, count(*), 0, 0, 0, sum(cost) FROM calls WHERE unsure GROUP BY stage
    UNION ALL SELECT stage, 0, 0, sum(calls), 0, 0, 0, sum(cost) FROM reserved GROUP BY stage
    UNION ALL SELECT stage, 0, calls, 0, 0, 0, 0, 0 FROM cached
) GROUP BY stage ORDER BY stage
"""


_FIND = "SELECT id FROM reserved WHERE name = ?"
_COMMITTED = "SELECT (SELECT cost FROM spent) + (SELECT total(cost) FROM reserved)"


@dataclasses.dataclass(frozen=True)
class Call:
    """A paid call, for the ledger. `key` is the cache's key of the request; `unsure`: its bill was never seen."""

    stage: str
    key: str
    model: str
    usage: Usage
    unsure: bool = False


@dataclasses.dataclass(frozen=True)
class Spent:
    """What a stage took: paid calls, their tokens and cost; replies from the cache, which cost nothing.

    `unsure` calls were sent and their bill never seen (a dropped connection, a killed run, an answer that does not say
    what it used): they cost `at_most` more.
    """

    calls: int = 0
    cached: int = 0
    unsure: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    at_most: float = 0.0


def totals(path: Path) -> dict[str, Spent]:
    """What each stage of a run spent, read from its ledger without writing; {} if there is none."""
    try:
        return {stage: Spent(*numbers) for stage, *numbers in read_only(path, _TOTALS)}
    except Damaged as damage:
        raise _damaged(path, damage) from damage


class Ledger:
    """The account of one run: a row a paid call, committed when `record` returns.

    A damaged ledger is refused (RunError) instead of started afresh: a budget would forget what was spent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = Database(path, _SCHEMA, VERSION)
        with self._sound():
            self._database.open()

    def record(self, calls: Sequence[Call]) -> None:
        """Book paid calls that had no reservation; `Budget.settle` books the others."""
        if calls:
            with self._writing() as database:
                _book(database, calls)

    def count_cached(self, stage: str, calls: int = 1) -> None:
        """Count replies that came from the cache."""
        with self._writing() as database:
            sql = "INSERT INTO cached VALUES (?, ?) ON CONFLICT (stage) DO UPDATE SET calls = calls + excluded.calls"
            database.execute(sql, (stage, calls))

    def reserve(self, stage: str, cost: float, limit: float | None, name: str = "", calls: int = 1) -> int | None:
        """Put `cost` aside for calls about to be sent; the reservation's id, None if that would pass `limit`.

        A reservation with a `name` is made once: asked again, it is found. All outlive the process that made them.
        """
        with self._writing() as database:
            if name and (found := database.execute(_FIND, (name,)).fetchone()):
                return int(found[0])
            if limit is not None and database.execute(_COMMITTED).fetchone()[0] + cost > limit:
                return None
            sql = "INSERT INTO reserved (time, stage, name, calls, cost) VALUES (?, ?, ?, ?, ?)"
            return database.execute(sql, (time.time(), stage, name, calls, cost)).lastrowid

    def keys(self, *models: str) -> set[str]:
        """The cache's keys of the calls that this run has paid, to a model by any of its names."""
        sql = f"SELECT DISTINCT key FROM calls WHERE model IN ({', '.join('?' * len(models))})"
        with self._sound():
            return {key for (key,) in self._database.read(sql, models)}

    def find(self, name: str) -> int | None:
        """The reservation of that name; None if there was none, or if it is settled."""
        with self._sound():
            rows = self._database.read(_FIND, (name,))
        return int(rows[0][0]) if rows else None

    def settle(self, reservation: int, calls: Sequence[Call]) -> bool:
        """Book what reserved calls really cost and free the rest, at once; False if that was done before."""
        with self._writing() as database:
            if not database.execute("DELETE FROM reserved WHERE id = ?", (reservation,)).rowcount:
                return False
            _book(database, calls)
            return True

    def committed(self) -> float:
        """All that was spent, and all that is reserved or may have been spent by calls of unknown fate."""
        with self._sound():
            return float(self._database.read(_COMMITTED)[0][0])

    def close(self) -> None:
        """Close the file; harmless if done twice."""
        self._database.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._sound(), self._database.transaction() as database:
            yield database

    @contextlib.contextmanager
    def _sound(self) -> Iterator[None]:
        try:
            yield
        except Damaged as damage:
            raise _damaged(self.path, damage) from damage


def _book(database: sqlite3.Connection, calls: Sequence[Call]) -> None:
    now = time.time()
    database.executemany(
        """INSERT INTO calls (time, stage, key, model, input_tokens, output_tokens, cost, unsure)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
        [
            (
                now, call.stage, call.key, call.model, call.usage.input_tokens, call.usage.output_tokens,
                call.usage.cost, call.unsure,
            )
            for call in calls
        ],
    )  # fmt: skip
    database.execute("UPDATE spent SET cost = cost + ?", (sum(call.usage.cost for call in calls),))


def _damaged(path: Path, damage: Damaged) -> RunError:
    return RunError(f"{path} is damaged ({damage}): what was spent cannot be known; move it away to count from 0")


@dataclasses.dataclass(frozen=True)
class Reservation:
    """The most that one call can cost, put aside in the ledger until `Budget.settle`."""

    id: int
    stage: str
    key: str
    cost: float


class Budget:
    """No more than `max_cost` dollars for all that the ledger's run ever spends.

    Every reservation ends in `settle`, before the same request reserves again (for a retry, or for its
    correction round): a call that held one while it waited for another could wait for itself. Any number of threads
    and tasks; UserError if the model has no price.
    """

    def __init__(self, ledger: Ledger, prices: Prices, model: str, max_cost: float) -> None:
        price = prices.of(model)
        if price is None:
            raise UserError(f"--max-cost needs the price of {model!r}, and no price table has it: {HOW_TO_PRICE}")
        self.max_cost = max_cost
        self.price, self.model = price, model
        self._ledger = ledger
        self._lock = threading.Lock()
        self._open: set[int] = set()  # reservations whose end may leave room for those who wait
        self._waiting: collections.deque[concurrent.futures.Future[None]] = collections.deque()

    async def reserve(self, stage: str, cost: float, key: str = "") -> Reservation:
        """Put aside the most that a call can cost, in dollars; waits while calls in flight may leave room for it.

        Raises BudgetSpent if nothing is in flight and there is still no room.
        """
        import asyncio  # here, as who only reads accounts need not wait for it

        again = False
        while not isinstance(got := self._take(stage, key, cost, again), Reservation):
            try:
                await asyncio.wrap_future(got)
            except asyncio.CancelledError:
                with self._lock:  # whoever was woken in vain wakes the next
                    self._wake()
                raise
            again = True
        return got

    def settle(self, reservation: Reservation, usage: Usage | None, *, unsure: bool = False) -> None:
        """Book the call at what it cost, `unsure` if that is the most it can be, and free the rest; None: not billed.

        This writes the call's row in the ledger: `Ledger.record` is for calls without a reservation.
        """
        calls = [] if usage is None else [Call(reservation.stage, reservation.key, self.model, usage, unsure)]
        with self._lock:
            self._ledger.settle(reservation.id, calls)
            self._close(reservation)

    def spent(self, cost: float) -> BudgetSpent:
        """The error for a call that may cost `cost` and does not fit any more."""
        return BudgetSpent(
            f"--max-cost {self.max_cost:g} leaves no room: {self._ledger.committed():.4f} dollars are spent and the "
            f"next call may cost up to {cost:.4f}; raise it and rerun, every paid reply is kept"
        )

    def _take(self, stage: str, key: str, cost: float, again: bool) -> Reservation | concurrent.futures.Future[None]:
        """A reservation, or what to wait for before asking again; who asks again is served before the others."""
        with self._lock:
            number = self._ledger.reserve(stage, cost, self.max_cost)
            if number is None and self._open:
                place: concurrent.futures.Future[None] = concurrent.futures.Future()
                (self._waiting.appendleft if again else self._waiting.append)(place)
                return place
            self._wake()  # room for one may be room for the next; and if there is none, the next finds out as well
            if number is not None:
                self._open.add(number)
                return Reservation(number, stage, key, cost)
        raise self.spent(cost)

    def _close(self, reservation: Reservation) -> None:
        self._open.discard(reservation.id)
        self._wake()

    def _wake(self) -> None:
        """Let the first of those who wait try again."""
        while self._waiting:
            place = self._waiting.popleft()
            if place.set_running_or_notify_cancel():
                place.set_result(None)
                return

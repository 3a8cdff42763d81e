"""The server's bill against the client's ledger, in each crooked way of answering, with and without --max-cost.

The server (in a thread) answers the first call well and then one of three, or all, in the crooked way, and charges for
what its maker would charge for. The ledger must hold as much as the bill, and no bill may pass the limit.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from benchmarks.support.crooked_server import MODEL, PRICES, WAYS, serving
from benchmarks.support.results import Row, record
from datagen.errors import DatagenError
from datagen.llm import sender
from datagen.llm.accounts.cache import Cache
from datagen.llm.accounts.money import Budget, Ledger, totals
from datagen.llm.accounts.prices import Prices
from datagen.llm.client import Client
from datagen.llm.endpoint import Endpoint
from datagen.llm.messages import Message, Request

# A server that writes on past the length that it was given shows that by its first such bill, and no sooner.
UNBOUNDED = "keeps_to_no_length"
LIMIT = 0.5  # dollars; a call of this benchmark may cost up to 0.1
ROWS = 24


class Written(BaseModel):
    """What a row asks for."""

    prompt: str
    negative: str


@dataclasses.dataclass(frozen=True)
class Account:
    """Dollars by the server's account and by ours; how the run ended, "" where it reached its end."""

    bill: float
    ledger: float
    good: int
    asked: int
    ended: str

    @property
    def held(self) -> bool:
        """Whether the ledger holds all of the bill; it is rounded to a thousandth of a cent."""
        return self.ledger >= self.bill - 1e-9


def settle(way: str, limit: float | None, each: int = 1, rows: int = ROWS, patience: float = 2.0) -> Account:
    """Ask for rows from a server that answers so, under a limit or none, and compare the two accounts."""
    requests = [Request((Message("user", f"Row {n}"),), Written, "prompts", max_tokens=1024) for n in range(rows)]
    with tempfile.TemporaryDirectory() as name, serving(way=way, good=1, each=each) as (url, server):
        folder, ended, good = Path(name), "", 0
        (folder / "prices.toml").write_text(PRICES)
        prices = Prices.load(folder / "prices.toml", url)
        ledger = Ledger(folder / "ledger.sqlite")
        budget = None if limit is None else Budget(ledger, prices, MODEL, limit)
        endpoint = Endpoint(url, MODEL, concurrency=8, timeout=0.4, patience=patience)
        try:
            with Client(endpoint, Cache(folder / "replies.sqlite"), ledger, budget, prices=prices) as client:
                good = sum(reply.error is None for reply in client.ask(requests))
        except DatagenError as error:
            ended = f"{type(error).__name__}: {error}"
        spent = totals(ledger.path).values()
        return Account(server.bill, sum(part.cost + part.at_most for part in spent), good, server.asked, ended)


@contextlib.contextmanager
def hurried(seconds: float = 0.01) -> Iterator[None]:
    """Retries wait hardly at all: what is measured here is money."""
    first, sender.FIRST_WAIT_S = sender.FIRST_WAIT_S, seconds
    longest, sender.LONGEST_WAIT_S = sender.LONGEST_WAIT_S, 4 * seconds
    try:
        yield
    finally:
        sender.FIRST_WAIT_S, sender.LONGEST_WAIT_S = first, longest


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("ways", nargs="*", help="crooked ways; all if none is named")
    given = parser.parse_args()
    ways = given.ways or list(WAYS)
    below, beyond, most, cases = 0, 0, 0.0, 0
    with hurried():
        for way in ways:
            for each in (1, 3):
                for limit in (None, LIMIT):
                    found = settle(way, limit, each, given.rows)
                    cases += 1
                    below += not found.held
                    if limit is not None and way != UNBOUNDED:
                        beyond, most = beyond + (found.bill > limit), max(most, found.bill)
                    told = f"bill {found.bill:.5f}, ledger {found.ledger:.5f}, {found.asked} calls, {found.good} good"
                    print(f"{way}, 1 of {each}, limit {limit}: {told}{'' if found.held else '  BELOW'} {found.ended}")
    figures = [
        Row(
            "ways of answering",
            len(given.ways or WAYS),
            "ways",
            note="each alone and one in three, with and without a limit",
        ),
        Row("accounts below the bill", below, "accounts", "= 0", note=f"of {cases}"),
        Row(f"bills above --max-cost {LIMIT:g}", beyond, "bills", "= 0", note=f"without {UNBOUNDED}"),
        Row("largest bill under the limit", most, "dollars", f"≤ {LIMIT:g}"),
    ]
    record("llm_bill", figures)
    return 0 if all(row.reached is not False for row in figures) else 1


if __name__ == "__main__":
    sys.exit(main())

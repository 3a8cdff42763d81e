"""Where every call of a run is booked: before its reply is used, and under a budget also before it is sent.

An answer that does not say what it used is booked at the most that it can have cost, as is a call whose answer never
came. What is not billed (a refusal, a server that is not there) is not booked.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from datagen.errors import BudgetSpent
from datagen.llm.accounts.money import Budget, Call, Prices, Reservation
from datagen.llm.messages import Request, Usage


@dataclasses.dataclass(frozen=True)
class Entry:
    """A call about to be sent, in dollars: its question, all that it is allowed, and the most that it may cost.

    The last is more than it is allowed for a server that was seen to keep to no length.
    """

    stage: str
    key: str
    max_tokens: int
    question: float
    allowed: float
    most: float
    reservation: Reservation | None = None


class Account:
    """The account of one model. A call to be booked is returned where no budget books it: the outbox writes it."""

    def __init__(self, prices: Prices, model: str, budget: Budget | None) -> None:
        self._prices, self._model, self._budget = prices, model, budget
        self._price = budget.price if budget else prices.of(model)
        self._over = 1.0  # how many times its most a call was seen to cost
        self._surprise = ""  # why no budget can hold this server

    async def open(self, request: Request, key: str) -> Entry:
        """Before a call is sent. BudgetSpent if there is no room for it, or none can be kept for such a server."""
        if self._surprise:
            raise BudgetSpent(self._surprise)
        allowed = self._price.most(request) if self._price else 0.0
        question = self._price.most(dataclasses.replace(request, max_tokens=0)) if self._price else 0.0
        reservation = None if self._budget is None else await self._budget.reserve(request, key)
        return Entry(request.stage, key, request.max_tokens, question, allowed, self._over * allowed, reservation)

    def paid(self, entry: Entry, answer: Any) -> tuple[Usage, Call | None]:
        """Book a call that was answered, by what the answer says that it used."""
        usage = self._prices.usage(self._model, answer)
        if usage is None:
            return Usage(), self.unknown(entry)
        if entry.allowed > 0:  # a server that does not keep to the length that it was given will do so again
            self._over = max(self._over, usage.cost / entry.allowed)
        if self._budget is not None and entry.reservation is not None:
            self._budget.settle(entry.reservation, usage)
            if usage.cost > entry.allowed:
                self._surprise = (
                    f"a call that was allowed {entry.max_tokens:,} tokens and {entry.allowed:.4f} dollars was billed "
                    f"{usage.output_tokens:,} tokens and {usage.cost:.4f} dollars: --max-cost cannot hold a server "
                    "that keeps to no length; it is on the account: raise llm.max_tokens if the model thinks, or take "
                    "another server"
                )
            return usage, None
        return usage, Call(entry.stage, entry.key, self._model, usage)

    def unknown(self, entry: Entry, *, read_alone: bool = False) -> Call | None:
        """Book a call that may have been billed, at the most that it can have cost: its question alone if only that
        was read.
        """
        usage = Usage(cost=entry.question if read_alone else entry.most)
        if self._budget is not None and entry.reservation is not None:
            self._budget.settle(entry.reservation, usage, unsure=True)
            return None
        return Call(entry.stage, entry.key, self._model, usage, unsure=True)

    def free(self, entry: Entry) -> None:
        """Forget a call that was not billed."""
        if self._budget is not None and entry.reservation is not None:
            self._budget.settle(entry.reservation, None)
